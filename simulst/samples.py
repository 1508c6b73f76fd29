"""What audio is inside simulst: 16 kHz mono float32 samples, nominally in [-1, 1]."""

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
PEAK_LIMIT = 64.0
"""Float recordings may exceed full scale a little; far beyond it they are integers stored as floats."""

FloatArray = npt.NDArray[np.float32]
