"""One package a view: a way of looking at a model that answers four words (`base.View`)."""
