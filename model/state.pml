/* What the parties hold, what is on its way, and what only the checker knows. */
#define WELD_1 1
#define WELD_2 2
#define PART 3
#define CHANGE 4

#define ACCEPT 1
#define REJECT 2

#define NONE 0
#define WAITING 1
#define COMMITTING 2
#define SENDING 3
#define SENT 4

#define IN_TIME 0
#define PAST_CUTOFF 1
#define PAST_DEADLINE 2

#define BIT(t) (1 << (t))
#define HAS(mask, t) (((mask) >> (t)) & 1)
#define CLEAR(mask, t) mask = mask & ~BIT(t)
#define PUT(mask, t) mask = mask | BIT(t)

/* Every message that asks something has a number of its own (0..TRIGGERS-1); these are its fields. */
byte asked;
byte of_session[TRIGGERS];
byte of_sequence[TRIGGERS];
byte of_kind[TRIGGERS];
#define SAME_SESSION(a, b) ((a) == (b) || BUG(SESSION_WITHOUT_NONCE))
#define SAME_NONCE(a, b) ((a) == (b) || BUG(SESSION_WITHOUT_NONCE))
#define SAME_KEY(t, u) (SAME_SESSION(of_session[t], of_session[u]) && of_sequence[t] == of_sequence[u])
#define SAME_ASKED(t, u) (SAME_KEY(t, u) && of_kind[t] == of_kind[u])

/* The serial line: sets of messages under way. Taking any of them reorders, keeping one repeats it, dropping one loses it. */
byte ups, downs;             /* how many there are in each direction */
byte up_hello, up_ask, up_ack_accepted, up_ack_late, up_ack_rejected;
byte down_hello, down_taken, down_no_session, down_refused, down_accept, down_reject;

/* The robot (sim/robot_protocol.py). */
byte robot_nonce = 1, robot_session, robot_sequence;
byte robot_open;             /* trigger + 1 */
bool robot_taken, robot_late;
byte robot_last, robot_last_said;   /* trigger + 1 of the last verdict, and what it said */
bool robot_last_passed;
byte robot_recipe = 1, robot_part_recipe;

/* The gate (edge/gate/session.py, handshake.py, case.py). */
byte sessions;               /* opened so far */
byte nonce_of[SESSIONS + 1];
byte gate_session, gate_last, gate_early;
bool gate_heals = true;      /* store_healthy */
bool gate_inspector, gate_silent;
byte gate_bundle;
byte gate_recipe = 1;
bool part_open;
byte weld_state[3];
#define JUDGED_ACCEPT 1
#define CONFIRMED 2
#define DEFECT 3
byte changed;                /* change-over + 1 that was taken last */

byte case_of;                /* trigger + 1 */
byte case_stage, case_time, case_sending;
bool case_durable, case_sent;
byte late_send;              /* seeded bug NO_DISCARD only: trigger + 1 left in the line's buffer */

byte closed[TRIGGERS];
#define CLOSED_UNANSWERED 3
#define CLOSED_BUSY 4

/* The recorder (edge/gate/records.py, store.py). */
#define TRIGGER_ROW 1
#define TRIGGER_AND_VERDICT 2
#define VERDICT_ROW 3
#define DISPOSITION_ROW 4
#define PART_ROWS 5          /* trigger and verdict of a part query, with a ticket */
chan disk_queue = [QUEUE] of { byte, byte };
#define TRIGGER_DURABLE 1
#define VERDICT_DURABLE 2
#define FAILED 3
#define BACK 4
chan disk_results = [QUEUE] of { byte, byte };
bool disk_failing;
byte rows_trigger[TRIGGERS], rows_verdict[TRIGGERS], rows_disposition[TRIGGERS];
byte recorded_outcome[TRIGGERS], recorded_bundle[TRIGGERS], recorded_done[TRIGGERS];
#define DONE_ACCEPTED 1
#define DONE_OTHER 2

/* Camera and inspector. */
#define JUDGING 1
#define REPORTED 2
#define GONE 3
byte bundle = 1;             /* what the inspector judges by now */
byte frame[TRIGGERS];
byte judged_by[TRIGGERS];    /* the bundle that really gave the score */
byte named_bundle[TRIGGERS]; /* the bundle in the report */

/* Bounds, and what only the checker knows. */
byte faults = FAULTS, copies = COPIES;
bool good[3];
byte judged;                 /* set of triggers whose own frame was judged in their own case */
byte ever_accept, ever_reject;      /* what was ever handed to the line */
byte passed;                 /* triggers the robot let pass */
byte weld_passed;            /* set of welds of the present part that the robot let pass, last verdict each */

/* The claims by name: never true, and there so that a broken one is printed by its name. */
bool I1_ACCEPT_IN_TIME;
bool I1_BEFORE_THE_ROBOTS_DEADLINE;
bool I1_GOOD_WELD;
bool I1_OWN_FRAME;
bool I1_WHOLE_PART;
bool I2_DURABLE_BEFORE_ACCEPT;
bool I3_NO_ACCEPT_AFTER_DISPOSITION;
bool I3_ONE_VERDICT;
bool I3_RUNS_END_DECIDED;
bool I3_USED_ONCE;
bool I4_THE_BUNDLE_ANNOUNCED;
bool I4_THE_BUNDLE_THAT_JUDGED;
bool I5_DISPOSITION_TELLS_THE_TRUTH;
bool I5_NOTHING_LEFT_OPEN;
bool I5_ONE_ROW_EACH;
bool I5_RUNS_END_AT_REST;
bool I5_TAKEN_IS_RECORDED;

#define CLAIM(name, holds) \
  if \
  :: (holds) -> skip \
  :: else -> assert(name) \
  fi

#define AT_REST (case_of == 0 && len(disk_queue) == 0 && len(disk_results) == 0 && !disk_failing)
