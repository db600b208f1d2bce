"""`python -m workers.trainer`: run a job directory, wait for one, count its rows, or ask a model."""

import argparse
import os
import sys
import traceback
from pathlib import Path

from workers.trainer import inspection, lifeline, report
from workers.trainer.failures import Failure, explain
from workers.trainer.report import Emit


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers.trainer", description=__doc__)
    parser.add_argument("job_dir", nargs="?", type=Path, help="job directory with spec.json and train.jsonl")
    parser.add_argument("--supervised", action="store_true", help="live only as long as stdin says")
    parser.add_argument("--until", metavar="SECONDS", type=float, help="the first lease of it, CLOCK_MONOTONIC")
    parser.add_argument("--standby", action="store_true", help='be ready, and wait on stdin for {"run": directory}')
    parser.add_argument("--inspect", action="store_true", help="count rows and tokens, train nothing")
    parser.add_argument("--ask", metavar="SOURCE", help="answer chats on stdin with this base model")
    parser.add_argument("--tuned", type=Path, metavar="DIR", help="tuned model beside --ask")
    chosen = parser.parse_args()
    if chosen.job_dir is None and not (chosen.standby or chosen.ask):
        parser.error("name a job directory")
    return chosen


def main() -> int:
    chosen = arguments()
    settle_libraries()
    emit = report.claim_stdout()
    try:
        if chosen.inspect:
            lifeline.die_with_parent()
            inspection.hide_torch()
            inspection.inspect(chosen.job_dir, emit)
            return report.DONE
        if chosen.ask:
            from workers.trainer import ask

            return ask.main(chosen.ask, chosen.tuned, emit)
        return train(chosen, emit)
    except BrokenPipeError:
        return report.ORPHANED
    except Exception as error:  # noqa: BLE001 - the edge of the process
        if not isinstance(error, Failure):
            traceback.print_exc()
        emit(explain(error).line())
        return report.ERROR


def settle_libraries() -> None:
    """Settings that libraries read when they are loaded; what the operator has set stays.

    OpenMP threads spin for a moment before they sleep: without it small models took twice as long a step, and spinning
    without end took four times as long where two trainers shared their cores.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def train(chosen: argparse.Namespace, emit: Emit) -> int:
    """Run the job, watched by the supervisor if there is one; its lifeline is up before anything heavy is imported."""
    life = lifeline.Lifeline()
    if chosen.standby or chosen.supervised:
        lifeline.die_with_parent()
    if chosen.supervised and not chosen.standby:
        life.until = chosen.until
        life.watch()
    directory = chosen.job_dir
    if chosen.standby:
        rehearse()
        named = life.wait_for_run()
        if named is None:
            return report.DONE
        life.watch()
        directory = Path(named)
    from workers.trainer import run

    life.hear_signals()  # not before: until here there is nothing to save, and a signal may end it at once
    return run.main(directory, life, emit)


def rehearse() -> None:
    """Get ready for a run; what goes wrong here is no job's fault, and shows again when there is one."""
    try:
        from workers.trainer import standby

        standby.rehearse()
    except Exception:  # noqa: BLE001
        traceback.print_exc()
    else:
        print("standby ready", file=sys.stderr, flush=True)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # nothing is left to tidy up, and tearing torch down takes a while
