/* How large a run is. The runner overrides these with -D; see docs/model.md. */
#ifndef TRIGGERS
#define TRIGGERS 3   /* messages of the robot that ask for something: weld triggers, part queries, change-overs */
#endif
#ifndef SESSIONS
#define SESSIONS 2   /* sessions the gate opens */
#endif
#ifndef NONCES
#define NONCES 3     /* nonces the robot draws */
#endif
#ifndef FAULTS
#define FAULTS 2     /* reboots, crashes, silences, disk failures, dropped sends and bundle swaps, together */
#endif
#ifndef COPIES
#define COPIES 1     /* messages or camera reports that arrive a second time */
#endif
#ifndef LINE
#define LINE 2       /* messages under way in each direction; one more is lost */
#endif
/* What may happen at all: every scenario leaves something out, so that it can be searched to the end. */
#ifndef LINE_UP
#define LINE_UP LINE   /* the same from robot to gate */
#endif
#ifndef ROBOT_FALLS
#define ROBOT_FALLS 1      /* the robot reboots, or either side no longer hears the other's heartbeat */
#endif
#ifndef GATE_FALLS
#define GATE_FALLS 1       /* the gate is killed (what is not durable is lost) or stopped */
#endif
#ifndef DISK_FALLS
#define DISK_FALLS 1       /* a write fails, with or without having reached the disk */
#endif
#ifndef INSPECTOR_FALLS
#define INSPECTOR_FALLS 1  /* the inspector is killed or silent */
#endif
#ifndef SWAPS
#define SWAPS 1            /* another bundle is loaded while frames are judged */
#endif
#ifndef DROPS
#define DROPS 1            /* the line does not take a verdict in time */
#endif
#ifndef PARTS
#define PARTS 1            /* part queries */
#endif
#ifndef CHANGES
#define CHANGES 1          /* change-overs of the recipe */
#endif
#ifndef REPEATS
#define REPEATS 1          /* the robot repeats a trigger until it is acknowledged */
#endif
#ifndef HURRY
#define HURRY 1            /* messages are lost; frames, records and confirmations come too late for the gate */
#endif
#define QUEUE 10     /* transactions that wait for the disk, and results that wait for the gate: never full within these bounds */

/* Seeded faults of the protocol: the verified model has none; the runner's second build reads the one to seed from CORDON_BUG. */
#ifdef SEEDED
c_decl { extern int seeded_bug; }
c_code { int seeded_bug = 0; }
#define BUG(number) c_expr { seeded_bug == number }
#else
#define BUG(number) false
#endif
