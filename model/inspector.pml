/* Camera and inspector: a frame names the trigger it was taken for, may come at any time later, and is judged by one bundle. */

#define DONE(t) (TRIGGERS > t && frame[t % TRIGGERS] == REPORTED)
#define A_REPORT (DONE(0) || DONE(1) || DONE(2) || DONE(3) || DONE(4))

inline report_arrives(t) {                          /* some finished report, perhaps a copy of one that came before */
  if
  :: DONE(0) -> t = 0
  :: DONE(1) -> t = 1
  :: DONE(2) -> t = 2
  :: DONE(3) -> t = 3
  :: DONE(4) -> t = 4
  fi;
  if
  :: frame[t] = GONE
  :: copies > 0 -> copies--; printf("@ camera.copy\n")
  fi
}

inline works(t) {
  printf("@ inspector.scores %d\n", t);
  frame[t] = REPORTED;
  named_bundle[t] = (BUG(BUNDLE_AT_THE_END) -> bundle : judged_by[t])
}

proctype inspector() {
  byte t;
end:
  do
  :: d_step { frame[0] == JUDGING -> works(0) }
  :: d_step { TRIGGERS > 1 && frame[1 % TRIGGERS] == JUDGING -> works(1 % TRIGGERS) }
  :: d_step { TRIGGERS > 2 && frame[2 % TRIGGERS] == JUDGING -> works(2 % TRIGGERS) }
  :: d_step { TRIGGERS > 3 && frame[3 % TRIGGERS] == JUDGING -> works(3 % TRIGGERS) }
  :: d_step { TRIGGERS > 4 && frame[4 % TRIGGERS] == JUDGING -> works(4 % TRIGGERS) }
  :: d_step { SWAPS && faults > 0 && bundle == 1 -> printf("@ inspector.swaps\n"); faults--; bundle = 2 }
  od
}
