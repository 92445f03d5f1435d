"""`import tensorrt` as the product does it, answered by the stand-in."""

from trt_standin.fronts import publish

publish(__name__)
