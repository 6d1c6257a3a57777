"""How far the rate of a clock may be off when nobody says it."""

from __future__ import annotations

# Of a clock of which nothing is declared. Raw oscillators are specified to 20 to 50 ppm; a wall clock that is being
# slewed can be off by its frequency correction and 500 ppm (ntpd) or 83 333 ppm (chrony) and must be declared: as the
# bound is of true time by the clock, one slow by p needs 1 / (1 - p) - 1.
RATE_BOUND_PPM_DEFAULT = 100.0
