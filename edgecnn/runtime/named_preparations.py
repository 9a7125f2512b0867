"""Preparations by name: what the programs do with a picture whose networks are usual."""

from __future__ import annotations

from edgecnn.runtime.preprocessing import OPENCV, Preprocessing

#: The deviations and means that keras.applications, and Caffe before it, take from a network's input.
_CAFFE_MEAN = (103.939, 116.779, 123.68)

#: By name; the size is the network's.
NAMED_PREPARATIONS = {
    # Ultralytics' LetterBox (YOLOv5 to YOLO26; YOLOv6, v7 and v9 do the same): cv2.resize with INTER_LINEAR,
    # a border of 114, BGR turned into RGB, divided by 255.
    "yolo": Preprocessing(
        640, fit="letterbox", pad=(114,), interpolation=OPENCV, mean=(0.0,) * 3, std=(1.0,) * 3
    ),
    # torchvision's ImageClassification: Resize(256), CenterCrop(224), its mean and deviation.
    "imagenet": Preprocessing(),
    # keras.utils.load_img(target_size=...) and keras.applications.imagenet_utils.preprocess_input with
    # mode="caffe", which VGG, ResNet v1 and networks from Caffe take.
    "caffe": Preprocessing(
        fit="stretch", interpolation="nearest", color="bgr", pixels=255, mean=_CAFFE_MEAN, std=(1.0,) * 3
    ),
    # The same with mode="tf", which MobileNet, Inception, Xception, NASNet and ResNet v2 take: -1..1.
    "tf": Preprocessing(
        fit="stretch", interpolation="nearest", pixels=255, mean=(127.5,) * 3, std=(127.5,) * 3
    ),
    # PaddleClas: ResizeImage(resize_short=256), CropImage(224), NormalizeImage(scale=1/255, ImageNet's).
    "paddle": Preprocessing(fit="crop-paddle", interpolation=OPENCV),
    # torchvision's geometry with timm's IMAGENET_INCEPTION_MEAN and _STD: -1..1.
    "half": Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3),
}
