"""Heatmaps of the class activation methods of pytorch-grad-cam."""
