"""What CAM, saliency and activation maximisation share: targets, layers and their spatial layout, explanations."""
