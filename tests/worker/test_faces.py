"""Detection: parity with both packages' own inference, and scaling, batching and coordinates on real photos."""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from retinaface.box_utils import decode, decode_landm
from retinaface.postprocess import postprocess
from retinaface.preprocess import preprocess
from retinaface.prior_box import priorbox
from retinaface.weights import WEIGHTS
from safetensors.torch import save_file
from skimage import data
from torchvision.ops import nms

from worker.face_networks import ResNetRetinaFace, WeightsError, load_mobilenet
from worker.faces import (
    NMS_IOU,
    PRIOR_SIZES,
    STRIDES,
    FaceDetector,
    create_detector,
    create_priors,
    decode_boxes,
    decode_landmarks,
    detection_scale,
)

CPU = torch.device("cpu")
# Astronaut photo, read off by eye: face between these corners, eyes around these points.
FACE_BOX = np.array([175, 65, 275, 190])
EYES = np.array([[203, 101], [249, 103]])


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return np.asarray(data.astronaut(), np.uint8)


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return create_detector(device=CPU)


def test_mobilenet_answers_as_the_wheels_own_network(photo: NDArray[np.uint8]) -> None:
    network, _ = load_mobilenet()
    odd_size = photo[:301, :273]  # no multiple of a stride: rounding of feature maps shows
    session = onnxruntime.InferenceSession(WEIGHTS)
    boxes, scores, landmarks = session.run(None, {"input": preprocess(odd_size)})

    with torch.inference_mode():
        ours = network(torch.from_numpy(odd_size).permute(2, 0, 1)[None].float())

    # Same float32 arithmetic in another order: 1e-4 of values that reach 10.
    np.testing.assert_allclose(ours[0].numpy(), boxes, atol=1e-4)
    np.testing.assert_allclose(ours[1].numpy(), scores[..., 1], atol=1e-4)
    np.testing.assert_allclose(ours[2].numpy(), landmarks, atol=1e-4)


def test_detector_finds_what_the_wheels_own_inference_finds(photo: NDArray[np.uint8]) -> None:
    session = onnxruntime.InferenceSession(WEIGHTS)
    inputs = preprocess(photo)
    (expected,) = postprocess(session.run(None, {"input": inputs}), *inputs.shape, score_threshold=0.8)
    side = max(photo.shape[:2])

    (found,) = create_detector(device=CPU, long_side=side, upscale_to=side).detect([photo])

    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, sorted(expected, key=lambda face: -face.score), strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-4)
        box = [theirs.x, theirs.y, theirs.x + theirs.width, theirs.y + theirs.height]
        # the wheel cuts coordinates, and widths, off to whole pixels
        np.testing.assert_allclose(ours.box, box, atol=2.0)
        np.testing.assert_allclose(ours.landmarks, [[p.x, p.y] for p in theirs.landmarks], atol=1.0)


def test_decoding_equals_retinaface_pytorchs_on_its_resnet50(photo: NDArray[np.uint8]) -> None:
    torch.manual_seed(7)  # random weights: no trained ones can be had offline, and decoding does not care
    network = ResNetRetinaFace().eval()
    small = photo[60:188, 150:310]
    with torch.inference_mode():
        boxes, scores, landmarks = network(torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float())
    height, width = small.shape[:2]
    their_priors = priorbox(
        [list(sizes) for sizes in PRIOR_SIZES], list(STRIDES), clip=False, image_size=(height, width)
    )
    scale = torch.tensor([width, height], dtype=torch.float32)
    expected_boxes = decode(boxes[0], their_priors, [0.1, 0.2]) * scale.repeat(2)
    expected_landmarks = decode_landm(landmarks[0], their_priors, [0.1, 0.2]) * scale.repeat(5)

    priors = create_priors(height, width, CPU)

    # They compute in shares of the image, we in pixels: float32 rounding of values up to some 1000 pixels.
    torch.testing.assert_close(decode_boxes(boxes[0], priors), expected_boxes, atol=5e-2, rtol=1e-4)
    torch.testing.assert_close(
        decode_landmarks(landmarks[0], priors).flatten(1), expected_landmarks, atol=5e-2, rtol=1e-4
    )
    ours = FaceDetector(network, name="r50", sha256="", device=CPU, long_side=160, upscale_to=160, score_threshold=0.3)
    kept = scores[0] > 0.3
    chosen = nms(expected_boxes[kept], scores[0][kept], NMS_IOU)
    assert len(ours.detect([small])[0]) == len(chosen) > 0


def test_detect_reports_coordinates_of_the_unscaled_frame(detector: FaceDetector, photo: NDArray[np.uint8]) -> None:
    (faces,) = detector.detect([photo])

    face = faces[0]
    np.testing.assert_allclose(face.box, FACE_BOX, atol=20)  # where a face ends is a matter of taste
    np.testing.assert_allclose(face.landmarks[:2], EYES, atol=8)


@pytest.mark.parametrize("factor", [0.2, 3.0])
def test_detect_finds_the_same_face_in_small_and_large_frames(
    detector: FaceDetector, photo: NDArray[np.uint8], factor: float
) -> None:
    resized = np.asarray(cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)

    (faces,) = detector.detect([resized])

    np.testing.assert_allclose(faces[0].landmarks[:2] / factor, EYES, atol=8)


def test_detect_is_bit_identical_in_any_company(detector: FaceDetector, photo: NDArray[np.uint8]) -> None:
    mirrored = np.ascontiguousarray(photo[:, ::-1])

    together = detector.detect([photo, mirrored])
    again = detector.detect([photo, mirrored])

    np.testing.assert_array_equal(together[0][0].box, again[0][0].box)
    assert together[1][0].box[0] == pytest.approx(512 - together[0][0].box[2], abs=6)


def test_detect_gives_an_empty_list_for_a_frame_without_faces(detector: FaceDetector) -> None:
    gray = np.full((120, 160, 3), 127, np.uint8)

    assert detector.detect([gray, gray]) == [[], []]


def test_detection_scale_brings_the_long_side_between_the_limits() -> None:
    scales = [detection_scale(h, w, short_limit=640, long_limit=960) for h, w in ((240, 320), (700, 800), (1080, 1920))]

    assert scales == [2.0, 1.0, 0.5]


def test_create_detector_refuses_other_weights_than_the_expected(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"x": torch.zeros(1)}, path)

    with pytest.raises(WeightsError, match="expected .* with sha256 00"):
        create_detector("resnet50", device=CPU, weights=path, weights_sha256="00")
    with pytest.raises(WeightsError, match="does not hold"):
        create_detector("resnet50", device=CPU, weights=path)
    with pytest.raises(ValueError, match="EMOCLIP_DETECTOR_WEIGHTS"):
        create_detector("resnet50", device=CPU)


def test_create_detector_loads_resnet50_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(ResNetRetinaFace().network.state_dict(), path)

    detector = create_detector("resnet50", device=CPU, weights=path)

    assert detector.name == "retinaface-resnet50"
    assert len(detector.sha256) == 64
