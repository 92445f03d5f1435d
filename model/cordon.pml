/* Cordon's link, recorder and bundle swap as one model; see docs/model.md for bounds, invariants and the functions meant. */
#include "bounds.pml"
#include "bugs.pml"
#include "state.pml"
#include "wire.pml"
#include "robot.pml"
#include "recorder.pml"
#include "inspector.pml"
#include "gate.pml"

/* I5 whenever nothing waits for the disk or the robot: every trigger has exactly one verdict and one disposition. */
#define BALANCED(t) (rows_verdict[t] == rows_trigger[t] && rows_disposition[t] == rows_trigger[t])

proctype auditor() {
  byte t;
end:
  do
  :: d_step {
      AT_REST && !(BALANCED(0) && BALANCED(1 % TRIGGERS) && BALANCED(2 % TRIGGERS) && BALANCED(3 % TRIGGERS) && BALANCED(4 % TRIGGERS)) ->
      assert(I5_NOTHING_LEFT_OPEN)
    }
  :: atomic {                                       /* the very end of a run: nobody can do anything any more */
      timeout ->
      CLAIM(I5_RUNS_END_AT_REST, !HURRY || AT_REST);
      CLAIM(I3_RUNS_END_DECIDED, robot_open == 0)
    };
    break
  od
}

init {
  atomic {
    if
    :: good[WELD_1] = true; good[WELD_2] = true; printf("@ truth 1 1\n")
    :: good[WELD_1] = true; printf("@ truth 1 0\n")
    :: good[WELD_2] = true; printf("@ truth 0 1\n")
    fi;
#ifdef SEEDED
    c_code { seeded_bug = getenv("CORDON_BUG") ? atoi(getenv("CORDON_BUG")) : 0; };
#endif
    run wire(); run robot(); run recorder(); run inspector(); run gate(); run auditor()
  }
}
