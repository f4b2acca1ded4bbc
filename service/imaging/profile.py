"""The profile of all answers: sRGB (IEC 61966-2-1)."""

from PIL import ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

# Bytes 24 to 36 are the time at which the profile was made: without them, the same photograph gives the same bytes in
# every replica.
SRGB_BYTES = SRGB.tobytes()[:24] + bytes(12) + SRGB.tobytes()[36:]
"""Programs with colour management guess at files without a profile; 588 bytes spare them that."""
