"""The class activation methods of pytorch-grad-cam by name, and what sets some of them apart.

Plain data: whether two maps agree depends on it, and is found out where neither torch nor that package is installed.
"""

# Those that need no more than one activation and one gradient, by the name of their class in pytorch-grad-cam.
METHODS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "gradcamelementwise": "GradCAMElementWise",
    "xgradcam": "XGradCAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "segeigencam": "SegEigenCAM",
    "kpcacam": "KPCA_CAM",
    "fem": "FEM",
}
# Those that run the model themselves, and those put together from others.
RUNNING = {"scorecam": "ScoreCAM", "ablationcam": "AblationCAM", "shapleycam": "ShapleyCAM", "fullgrad": "FullGrad"}
COMPOSED = {"finercam": "FinerCAM", "refinecam": "RefineCAM"}
# A principal component's sign is arbitrary; SegEigenCAM's rule for it is a near tie in some maps.
SIGNLESS = {"eigencam", "eigengradcam", "kpcacam", "segeigencam"}
CANCELLING = {"xgradcam"}  # it divides by a sum that may nearly cancel: rounding changes the size of its maps
ALL_LAYERS = {"fullgrad"}  # they explain all layers at once
_WITHOUT_GRADIENT = {"eigencam", "kpcacam", "fem", "scorecam", "ablationcam"}


def uses_gradients(method: str) -> bool:
    """Whether the gradient of one pass is part of the map; methods that run the model make their own."""
    return differentiates(method) and (method in METHODS or method in COMPOSED)


def differentiates(method: str) -> bool:
    """Whether any gradient is part of the map, also one that the method makes itself."""
    return method not in _WITHOUT_GRADIENT
