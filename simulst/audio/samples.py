"""Samples as every part of simulst takes them: 16 kHz, mono, float32, nominally in [-1, 1]."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

SAMPLE_RATE = 16_000
"""Samples per second, of whatever source, once it is resampled."""
PEAK_LIMIT = 64.0
"""Float recordings may exceed full scale a little; far beyond it they are integers stored as floats."""
