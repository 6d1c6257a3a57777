"""From messages and anchors to bounds: one consistent map from every clock to a reference clock or UTC."""

from coeval.alignment._agreement import Agreement, SourceVerdict, Verdict, agree, utc_bounds
from coeval.alignment._alignment import RATE_BOUND_PPM_DEFAULT, Alignment, align
from coeval.alignment._clock_map import ClockMap
from coeval.alignment._clock_step import ClockStep
from coeval.alignment._curvature import CURVATURE_PRIOR
from coeval.alignment._duration import Duration
from coeval.alignment._evidence import Evidence, EvidenceStatistics
from coeval.alignment._explanation import BoundWay, Explanation
from coeval.alignment._finding import Finding, FindingKind
from coeval.alignment._identity import IdentityClash, IdentityReport, check_identities
from coeval.alignment._instants import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST, Instants, Offsets
from coeval.alignment._messages import Messages
from coeval.alignment._report import ClockFit, OffsetInterval
from coeval.alignment._revision import Revision, revisions
from coeval.alignment._snapshots import SLEW_BOUND_PPM_DEFAULT, WallStep, anchors_from, wall_clock_steps
from coeval.alignment._steadiness import WANDER_PPM_PRIOR

__all__ = [
    "align",
    "Alignment",
    "ClockMap",
    "Messages",
    "Evidence",
    "revisions",
    "Revision",
    "EvidenceStatistics",
    "Instants",
    "Offsets",
    "UNKNOWN_EARLIEST",
    "UNKNOWN_ESTIMATE",
    "UNKNOWN_LATEST",
    "ClockFit",
    "OffsetInterval",
    "ClockStep",
    "Duration",
    "Explanation",
    "BoundWay",
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
    "CURVATURE_PRIOR",
]
