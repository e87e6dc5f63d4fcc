"""What a video is analysed for, where a client says it, and the purposes that the law forbids.

Regulation (EU) 2024/1689 (AI Act), Article 5(1)(f), prohibits AI systems that infer emotions of a natural person in the
areas of workplace and education institutions, except where the system is intended for medical or safety reasons.
In force since 2 February 2025. A service cannot see what it is used for; it can refuse what it is told.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

__all__ = ["REFUSED_PURPOSE", "REFUSED_PURPOSES", "AcceptedPurpose", "Purpose"]

REFUSED_PURPOSE = "refused_purpose"
"""Type of the validation error."""
REFUSED_PURPOSES = ("workplace", "education")
_REFUSAL = (
    "Regulation (EU) 2024/1689 (AI Act), Article 5(1)(f), prohibits inferring the emotions of people at the workplace "
    "and in education institutions, so a job for '{purpose}' is refused. It excepts systems that are intended for "
    "medical or safety reasons: where that is what the video is analysed for, say medical or safety."
)


class Purpose(StrEnum):
    """What a video is analysed for."""

    RESEARCH = "research"
    MEDIA_ANALYSIS = "media_analysis"
    PRODUCT_TESTING = "product_testing"
    ACCESSIBILITY = "accessibility"
    PERSONAL = "personal"
    MEDICAL = "medical"
    SAFETY = "safety"
    OTHER = "other"


def _refuse_forbidden(purpose: object) -> object:
    if isinstance(purpose, str) and purpose.strip().lower() in REFUSED_PURPOSES:
        raise PydanticCustomError(REFUSED_PURPOSE, _REFUSAL, {"purpose": purpose.strip().lower()})
    return purpose


AcceptedPurpose = Annotated[Purpose, BeforeValidator(_refuse_forbidden)]
