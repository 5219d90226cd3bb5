"""The main job with the fake engine: `python -m tests.faults.driver FAULTS_JSON ARGUMENTS...`.

Everything else is the real thing: Ray, Tune, Optuna, the records, the report, MLflow.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import search.run.job
from search.run.__main__ import main
from search.study.tuning.trainable import Job
from tests.fake_engine import FakeEngine, Faults

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    faults = Faults(Path(given.pop("folder")), **given)
    engine = functools.partial(FakeEngine, faults=faults)
    search.run.job.Job = functools.partial(Job, engine=engine)  # type: ignore[misc, assignment]
    sys.exit(main(sys.argv[2:]))
