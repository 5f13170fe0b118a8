"""Every model of torchvision, and many families of timm and transformers: record, compare elsewhere, one fault each."""
