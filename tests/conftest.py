"""For all tests."""

import experiments  # noqa: F401  (before torch: it sets how threads wait)
