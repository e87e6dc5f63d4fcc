"""Examples of the answers, as the OpenAPI document shows them."""

from typing import Any

__all__ = ["JOB_EXAMPLE", "JOB_ID", "ROW_EXAMPLE"]

JOB_ID = "0193f2c41b7a4e0c8d5bb1b2a4f07e66"
_TRACK_EXAMPLE: dict[str, Any] = {
    "track": 1,
    "frames": 250,
    "start_seconds": 0.0,
    "end_seconds": 9.96,
    "emotion": "happiness",
    "mean_probabilities": {
        "neutral": 0.062,
        "anger": 0.011,
        "disgust": 0.008,
        "fear": 0.006,
        "happiness": 0.881,
        "sadness": 0.014,
        "surprise": 0.018,
    },
    "shares": {
        "neutral": 0.048,
        "anger": 0.0,
        "disgust": 0.0,
        "fear": 0.0,
        "happiness": 0.952,
        "sadness": 0.0,
        "surprise": 0.0,
    },
}
JOB_EXAMPLE: dict[str, Any] = {
    "id": JOB_ID,
    "state": "succeeded",
    "created_at": "2026-11-23T18:30:00.125Z",
    "started_at": "2026-11-23T18:30:00.310Z",
    "finished_at": "2026-11-23T18:30:12.842Z",
    "expires_at": "2026-11-24T18:30:12.842Z",
    "options": {"sample_fps": None, "max_faces": None, "min_face_pixels": None, "purpose": "research"},
    "upload": {"file_name": "talk.mp4", "size_bytes": 1048576, "sha256": "9f86d081884c7d659a2feaa0c55ad015" * 2},
    "progress": {"frames_done": 250, "frames_total": 250, "frames_per_second": 19.9, "eta_seconds": 0.0},
    "rows_ready": 250,
    "video": {
        "duration_seconds": 10.0,
        "frame_count": 250,
        "analysed_frames": 250,
        "width": 1280,
        "height": 720,
        "rotation_degrees": 0,
        "codec": "h264",
    },
    "model": {
        "name": "resnet18-cbam-blstm",
        "sha256": "3b5d5c3712ab07aa" * 4,
        "detector": "retinaface-mobilenet0.25",
        "detector_sha256": "b7a7acab7d4e9c30" * 4,
        "labels": ["neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise"],
        "runtime": {
            "emoclip": "0.1.0",
            "python": "3.11.9",
            "torch": "2.14.1",
            "torchvision": "0.29.1",
            "numpy": "2.3.5",
            "opencv": "4.12.0",
            "pyav": "18.1.0",
            "ffmpeg": {"libavcodec": "62.28.102", "libavformat": "62.12.102"},
            "device": "NVIDIA H100",
            "precision": "bfloat16",
            "long_side": 960,
            "upscale_to": 640,
            "score_threshold": 0.8,
        },
    },
    "error": None,
    "summary": {"tracks": [_TRACK_EXAMPLE]},
    "webhook": {
        "url": "https://example.com",
        "state": "delivered",
        "attempts": [{"at": "2026-11-23T18:30:13.112Z", "status": 204, "error": None, "seconds": 0.083}],
        "next_attempt_at": None,
    },
    "links": {
        "self": f"/v1/jobs/{JOB_ID}",
        "frames": f"/v1/jobs/{JOB_ID}/frames",
        "events": f"/v1/jobs/{JOB_ID}/events",
        "result": f"/v1/jobs/{JOB_ID}/result",
    },
}
ROW_EXAMPLE: dict[str, Any] = {
    "frame": 12,
    "pts_seconds": 0.4004,
    "faces": [
        {
            "track": 1,
            "box": [412.0, 96.5, 583.2, 310.9],
            "score": 0.998,
            "landmarks": [[455.1, 180.2], [540.0, 178.8], [498.7, 232.0], [462.3, 262.5], [533.4, 261.0]],
            "emotion": "happiness",
            "probabilities": {
                "neutral": 0.021,
                "anger": 0.004,
                "disgust": 0.002,
                "fear": 0.001,
                "happiness": 0.961,
                "sadness": 0.004,
                "surprise": 0.007,
            },
        }
    ],
}
