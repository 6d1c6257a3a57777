"""
The Dask engine's parts.

    caller's process                      Dask's scheduler            a Dask worker               its local pool
    ────────────────                      ────────────────            ─────────────               ──────────────
    engines/dask.py  DaskEngine
      _url.py        what the URL says
      _versions.py   who fits whom
      _flights.py    what is out (mind)
      _link.py       ── parcel ─────────> _office.py PostOffice
                     ── task (a number) ─────> Dask places it ──────> _outpost.py carry
                                              begin? <─────────────── asks, gets the parcel ──> LocalEngine
                     <─ outcomes ──────────── bring <──────────────── as they come          <──
                                              reserved ──────────────> _ahead.py: what is to follow
                                              began  <──────────────── says, and does not ask ──> LocalEngine
                     <─ lost, cluster ─────── Dask tells of workers
                     ── content ────────────> passes it on ─────────> _share_fetch.py: once to a host, and mapped

What goes through Dask as a task is a number only. The parcel itself waits at the post office, a scheduler plugin that
belongs to one engine, and is handed out once: a task that Dask lets run a second time, because a worker was lost, finds
nothing to do. So a call that killed its worker is not let loose on the next.

    _office_state.py   the office's mind
    _share_state.py    its mind for shared objects: who has which, and who gets it from whom
    _ahead.py          an outpost's
    _share_room.py     a host's copies of shared objects
    _share_pieces.py   their content under way
    _share_names.py    their names in pickles, and in the local pool's workers
    _function.py       how a function is unpacked in the local pool's workers (they import nothing of Dask)
"""
