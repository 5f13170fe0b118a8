"""One package a view: a way of looking at a model, with four methods (`base.View`)."""
