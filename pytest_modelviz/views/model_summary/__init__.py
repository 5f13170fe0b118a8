"""What a model is: its module tree with shapes, parameters and mult-adds."""
