"""From messages and anchors to bounds: one consistent map from every clock to a reference clock or UTC."""

from typing import TYPE_CHECKING

# Nothing is imported before it is used: the command line names what is said of a rate when nobody says anything.
if TYPE_CHECKING:
    from coeval.alignment._agreement import Agreement, SourceVerdict, Verdict, agree, utc_bounds
    from coeval.alignment._alignment import Alignment, align
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
    from coeval.alignment._rate_bound import RATE_BOUND_PPM_DEFAULT
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

_HOMES = {
    "_agreement": (
        "Agreement",
        "SourceVerdict",
        "Verdict",
        "agree",
        "utc_bounds",
    ),
    "_alignment": ("Alignment", "align"),
    "_rate_bound": ("RATE_BOUND_PPM_DEFAULT",),
    "_clock_map": ("ClockMap",),
    "_clock_step": ("ClockStep",),
    "_curvature": ("CURVATURE_PRIOR",),
    "_duration": ("Duration",),
    "_evidence": (
        "Evidence",
        "EvidenceStatistics",
    ),
    "_explanation": (
        "BoundWay",
        "Explanation",
    ),
    "_finding": (
        "Finding",
        "FindingKind",
    ),
    "_identity": (
        "IdentityClash",
        "IdentityReport",
        "check_identities",
    ),
    "_instants": (
        "UNKNOWN_EARLIEST",
        "UNKNOWN_ESTIMATE",
        "UNKNOWN_LATEST",
        "Instants",
        "Offsets",
    ),
    "_messages": ("Messages",),
    "_report": (
        "ClockFit",
        "OffsetInterval",
    ),
    "_revision": (
        "Revision",
        "revisions",
    ),
    "_snapshots": (
        "SLEW_BOUND_PPM_DEFAULT",
        "WallStep",
        "anchors_from",
        "wall_clock_steps",
    ),
    "_steadiness": ("WANDER_PPM_PRIOR",),
}

# Hidden from type checkers, which would otherwise take every misspelt name for one of these.
if not TYPE_CHECKING:
    from coeval._lazy_names import lazy_names

    __getattr__, __dir__ = lazy_names(__name__, globals(), _HOMES)
