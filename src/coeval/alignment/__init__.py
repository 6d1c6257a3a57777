"""From messages and anchors to bounds: one consistent map from every clock to a reference clock or UTC."""

from coeval.alignment._agreement import Agreement, SourceVerdict, Verdict, agree, utc_bounds
from coeval.alignment._alignment import RATE_BOUND_PPM_DEFAULT, Alignment, align
from coeval.alignment._finding import Finding, FindingKind
from coeval.alignment._fit import UNKNOWN_EARLIEST, UNKNOWN_LATEST, WANDER_PPM_PRIOR
from coeval.alignment._identity import IdentityClash, IdentityReport, check_identities
from coeval.alignment._instants import UNKNOWN_ESTIMATE, Instants, Offsets
from coeval.alignment._messages import Messages
from coeval.alignment._report import ClockFit, OffsetInterval
from coeval.alignment._snapshots import SLEW_BOUND_PPM_DEFAULT, WallStep, anchors_from, wall_clock_steps

__all__ = [
    "align",
    "Alignment",
    "Messages",
    "Instants",
    "Offsets",
    "UNKNOWN_EARLIEST",
    "UNKNOWN_ESTIMATE",
    "UNKNOWN_LATEST",
    "ClockFit",
    "OffsetInterval",
    "Finding",
    "FindingKind",
    "check_identities",
    "IdentityReport",
    "IdentityClash",
    "wall_clock_steps",
    "WallStep",
    "anchors_from",
    "agree",
    "Agreement",
    "SourceVerdict",
    "Verdict",
    "utc_bounds",
    "RATE_BOUND_PPM_DEFAULT",
    "SLEW_BOUND_PPM_DEFAULT",
    "WANDER_PPM_PRIOR",
]
