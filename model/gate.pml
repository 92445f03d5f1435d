/* The gate: edge/gate/session.py, handshake.py, case.py and verdict.py; the function meant is named beside each step. */

#define ROOM (len(disk_queue) <= QUEUE - 4)
#define CASE (case_of - 1)
#define IN_RECIPE(kind) ((kind) == WELD_1 || ((kind) == WELD_2 && gate_recipe == 1))
#define REFUSED_EARLY (!gate_heals || !gate_inspector || gate_silent)   /* verdict.refuse_early */
#define COUNTS(w) (weld_state[w] == CONFIRMED \
  || (BUG(PART_UNCONFIRMED_WELD) && weld_state[w] == JUDGED_ACCEPT) || (BUG(REJECT_READ_AS_ACCEPT) && weld_state[w] == DEFECT))
#define ALL_CONFIRMED (COUNTS(WELD_1) && (gate_recipe == 2 || COUNTS(WELD_2)))

inline forget_case() {
  case_of = 0; case_stage = NONE; case_time = IN_TIME; case_sending = 0; case_durable = false; case_sent = false
}

inline record(kind, t) { disk_queue!kind,t }

inline close_case(done) {                           /* GateSession._close */
  record(DISPOSITION_ROW, CASE);
  recorded_done[CASE] = done;
  if :: case_sending == 0 -> closed[CASE] = CLOSED_UNANSWERED :: else -> closed[CASE] = case_sending fi;
  forget_case()
}

inline prepare(outcome) {                           /* Case.prepare: the one answer of this case */
  case_sending = outcome; case_stage = SENDING
}

inline weld_judged(outcome) {                       /* parts: the last verdict of this weld; a defect stays one until the part is closed */
  if
  :: of_kind[CASE] <= WELD_2 && weld_state[of_kind[CASE]] != DEFECT -> weld_state[of_kind[CASE]] = outcome
  :: else -> skip
  fi
}

inline conclude(outcome, kind) {                    /* GateSession._conclude: ACCEPT waits for its record, anything else leaves first */
  recorded_outcome[CASE] = outcome;
  if
  :: outcome == ACCEPT && !BUG(RECORD_AFTER_SEND) -> case_stage = COMMITTING
  :: else -> prepare(outcome)
  fi;
  record(kind, CASE)
}

inline withhold() {                                 /* GateSession._withhold */
  prepare(REJECT);
  weld_judged(NONE)
}

inline hand_over(u, outcome) {                      /* the link takes the verdict's last byte */
  if
  :: outcome == ACCEPT ->
    CLAIM(I2_DURABLE_BEFORE_ACCEPT, rows_verdict[u] > 0 && recorded_outcome[u] == ACCEPT);
    CLAIM(I3_NO_ACCEPT_AFTER_DISPOSITION, case_of == u + 1);
    CLAIM(I1_ACCEPT_IN_TIME, case_time != PAST_DEADLINE);
    PUT(ever_accept, u); send(downs, LINE, down_accept, u)
  :: else -> PUT(ever_reject, u); send(downs, LINE, down_reject, u)
  fi;
  CLAIM(I3_ONE_VERDICT, !(HAS(ever_accept, u) && HAS(ever_reject, u)))
}

inline forget_part() { part_open = false; weld_state[WELD_1] = NONE; weld_state[WELD_2] = NONE }

inline forget_closed() {
  t = 0;
  do :: t < TRIGGERS -> closed[t] = 0; t++ :: else -> break od;
  t = 0
}

inline void_session(done) {                         /* GateSession._void, HandshakeSession._end_session */
  if
  :: case_of != 0 && BUG(NO_DISCARD) && case_stage == SENDING -> late_send = case_of
  :: else -> skip
  fi;
  if
  :: case_of != 0 ->
    if
    :: case_stage == WAITING -> recorded_outcome[CASE] = REJECT; record(VERDICT_ROW, CASE)
    :: else -> skip
    fi;
    if
    :: BUG(DISPOSITION_FORGOTTEN) -> forget_case()
    :: else -> close_case(done)
    fi
  :: else -> skip
  fi;
  gate_session = 0; gate_early = 0; changed = 0;
  if
  :: BUG(PART_OF_EARLIER_SESSION) -> skip
  :: else -> forget_part()
  fi;
  gate_recipe = 1;
  forget_closed()
}

inline judge(t) {                                   /* GateSession._judge, verdict.decide: the report of frame t for the open case */
  if
  :: SAME_ASKED(t, CASE) && robot_open == case_of -> PUT(judged, CASE)
  :: else -> skip
  fi;
  if
  :: !REFUSED_EARLY && case_time == IN_TIME && (named_bundle[t] == gate_bundle || BUG(OLD_BUNDLE_ACCEPTED)) ->
    if
    :: good[of_kind[t]] ->
      recorded_bundle[CASE] = (BUG(OLD_BUNDLE_ACCEPTED) -> gate_bundle : named_bundle[t]);
      CLAIM(I4_THE_BUNDLE_THAT_JUDGED, recorded_bundle[CASE] == judged_by[t]);
      CLAIM(I4_THE_BUNDLE_ANNOUNCED, recorded_bundle[CASE] == gate_bundle);
      weld_judged(JUDGED_ACCEPT);
      conclude(ACCEPT, VERDICT_ROW)
    :: else ->
      weld_judged(DEFECT);
      conclude(REJECT, VERDICT_ROW)
    fi
  :: else -> conclude(REJECT, VERDICT_ROW)
  fi
}

inline reject_hopeless() {                          /* GateSession._reject_hopeless */
  if
  :: case_stage == WAITING && REFUSED_EARLY -> conclude(REJECT, VERDICT_ROW)
  :: else -> skip
  fi
}

inline new_case(t) {                                /* HandshakeSession._new_trigger from `_open` on */
  case_of = t + 1; case_stage = WAITING; case_time = IN_TIME;
  if
  :: of_kind[t] == PART ->
    if
    :: gate_heals && ALL_CONFIRMED ->     /* parts.decide_part */
      recorded_bundle[t] = 0;
      conclude(ACCEPT, PART_ROWS)
    :: else -> conclude(REJECT, TRIGGER_AND_VERDICT)
    fi;
    forget_part()
  :: of_kind[t] != PART && (REFUSED_EARLY || !IN_RECIPE(of_kind[t]) || weld_state[of_kind[t] % 3] == DEFECT) ->
    if
    :: IN_RECIPE(of_kind[t]) -> part_open = true; weld_judged(NONE)
    :: else -> skip
    fi;
    conclude(REJECT, TRIGGER_AND_VERDICT)
  :: else ->
    part_open = true;
    weld_judged(NONE);
    record(TRIGGER_ROW, t);
    if
    :: BUG(ACK_BEFORE_ROW) -> taken(t)
    :: else -> skip
    fi;
    if
    :: gate_early == t + 1 -> gate_early = 0; judge(t)   /* _match_early */
    :: else -> gate_early = 0
    fi
  fi
}

inline taken(t) {                                   /* the TriggerAck leaves */
  CLAIM(I5_TAKEN_IS_RECORDED, rows_trigger[t] > 0);
  if :: REPEATS -> send(downs, LINE, down_taken, t) :: else -> skip fi   /* it only ends the repeats */
}

inline repeat_of(u) {                               /* HandshakeSession._repeat */
  if
  :: closed[u] == CLOSED_BUSY -> send(downs, LINE, down_refused, u)
  :: closed[u] == CLOSED_UNANSWERED -> skip
  :: closed[u] == REJECT -> hand_over(u, REJECT)
  :: closed[u] == ACCEPT && !BUG(ACCEPT_AFTER_DISPOSITION) -> send(downs, LINE, down_refused, u)
  :: closed[u] == ACCEPT && BUG(ACCEPT_AFTER_DISPOSITION) -> hand_over(u, ACCEPT)
  :: closed[u] == 0 && case_stage <= COMMITTING -> if :: case_durable -> taken(u) :: else -> skip fi
  :: closed[u] == 0 && case_stage == SENDING -> skip
  :: closed[u] == 0 && case_stage == SENT && case_sending == REJECT -> hand_over(u, REJECT)
  :: closed[u] == 0 && case_stage == SENT && case_sending == ACCEPT && case_time == IN_TIME -> hand_over(u, ACCEPT)
  :: else -> send(downs, LINE, down_refused, u)
  fi
}

inline weld_busy(t) {                               /* a weld shown while another trigger was open has no verdict of its own */
  if
  :: IN_RECIPE(of_kind[t]) ->
    part_open = true;
    if :: weld_state[of_kind[t]] != DEFECT -> weld_state[of_kind[t]] = NONE :: else -> skip fi
  :: else -> skip
  fi
}

inline triggered(t, u) {                            /* HandshakeSession._triggered */
  u = 0;
  do
  :: u < TRIGGERS && !((closed[u] != 0 || case_of == u + 1) && SAME_ASKED(t, u)) -> u++
  :: else -> break
  od;
  if
  :: u < TRIGGERS -> repeat_of(u)
  :: u >= TRIGGERS && of_sequence[t] <= gate_last -> send(downs, LINE, down_refused, t)
  :: u >= TRIGGERS && of_sequence[t] > gate_last ->
    gate_last = of_sequence[t];
    if
    :: case_of != 0 && case_stage != SENT ->        /* _refuse_busy */
      recorded_outcome[t] = REJECT; recorded_done[t] = DONE_OTHER;
      send(downs, LINE, down_refused, t); record(TRIGGER_AND_VERDICT, t); record(DISPOSITION_ROW, t); closed[t] = CLOSED_BUSY;
      if :: of_kind[t] == PART -> forget_part() :: else -> weld_busy(t) fi
    :: else ->
      if :: case_of != 0 -> close_case(DONE_OTHER) :: else -> skip fi;
      new_case(t)
    fi
  fi;
  u = 0
}

inline change_over(t) {                             /* HandshakeSession: ChangeOver */
  if
  :: changed == t + 1 -> send(downs, LINE, down_taken, t)
  :: changed != t + 1 && of_sequence[t] <= gate_last -> send(downs, LINE, down_refused, t)
  :: changed != t + 1 && of_sequence[t] > gate_last ->
    gate_last = of_sequence[t];
    if
    :: (part_open && !BUG(CHANGE_MID_PART)) || (case_of != 0 && case_stage != SENT) -> send(downs, LINE, down_refused, t)
    :: else -> gate_recipe = 2; changed = t + 1; send(downs, LINE, down_taken, t)
    fi
  fi
}

#define MATCHES(t) (case_of != 0 && case_stage >= SENDING && of_sequence[t] == of_sequence[CASE] \
  && (SAME_SESSION(of_session[t], gate_session) || BUG(ACK_WITHOUT_ECHO)))

inline confirmed(t, said, accepted) {               /* HandshakeSession.received, _confirmed */
  printf("@ gate.hears_ack %d %d %d\n", t, said, accepted);
  if
  :: !(SAME_SESSION(of_session[t], gate_session) || BUG(ACK_WITHOUT_ECHO)) -> send(downs, LINE, down_no_session, t)
  :: (SAME_SESSION(of_session[t], gate_session) || BUG(ACK_WITHOUT_ECHO)) && MATCHES(t) ->
    if
    :: said != case_sending && !BUG(ACK_WITHOUT_ECHO) -> void_session(DONE_OTHER)
    :: else ->
      if
      :: accepted ->
        CLAIM(I5_DISPOSITION_TELLS_THE_TRUTH, HAS(passed, CASE));
        if
        :: of_kind[CASE] <= WELD_2 && weld_state[of_kind[CASE]] == JUDGED_ACCEPT -> weld_state[of_kind[CASE]] = CONFIRMED
        :: else -> skip
        fi;
        close_case(DONE_ACCEPTED)
      :: else -> close_case(DONE_OTHER)
      fi
    fi
  :: else -> skip
  fi
}

inline restarted() {                                /* GateDaemon.__init__: Store.leftovers, then everything from the beginning */
  forget_case(); forget_closed(); forget_part();
  if
  :: BUG(SEQUENCE_REUSED) -> skip
  :: else -> gate_session = 0
  fi;
  gate_last = 0; gate_early = 0; gate_heals = true; gate_inspector = false; gate_silent = false; gate_bundle = 0; gate_recipe = 1;
  changed = 0; disk_failing = false; late_send = 0;
  do :: len(disk_results) > 0 -> disk_results?_,_ :: len(disk_results) == 0 -> break od;
  t = 0;
  do
  :: t < TRIGGERS ->
    if
    :: rows_trigger[t] > 0 && rows_verdict[t] == 0 && !BUG(NO_LEFTOVERS) -> recorded_outcome[t] = REJECT; rows_verdict[t] = 1
    :: else -> skip
    fi;
    if
    :: rows_trigger[t] > 0 && rows_disposition[t] == 0 && !BUG(NO_LEFTOVERS) -> recorded_done[t] = DONE_OTHER; rows_disposition[t] = 1
    :: else -> skip
    fi;
    t++
  :: else -> break
  od;
  t = 0
}

proctype gate() {
  byte t, u;
end:
  do
  :: atomic {                                       /* received: H, _hello_from */
      up_hello != 0 && ROOM && (sessions < SESSIONS || (gate_session != 0 && SAME_NONCE(0, 1))) -> take(ups, up_hello, t);
      d_step {
        printf("@ gate.hears_hello %d\n", t);
        if
        :: gate_session != 0 && SAME_NONCE(nonce_of[gate_session], t) -> send(downs, LINE, down_hello, gate_session)
        :: !(gate_session != 0 && SAME_NONCE(nonce_of[gate_session], t)) ->   /* _begin */
          u = t;
          if :: gate_session != 0 -> void_session(DONE_OTHER) :: else -> skip fi;
          sessions++; gate_session = sessions; nonce_of[sessions] = u; gate_last = 0;
          send(downs, LINE, down_hello, gate_session)
        fi;
        t = 0; u = 0
      }
    }
  :: atomic {                                       /* received: T, P, C */
      up_ask != 0 && ROOM -> take(ups, up_ask, t);
      d_step {
        printf("@ gate.hears_ask %d\n", t);
        if
        :: gate_session == 0 || !SAME_SESSION(of_session[t], gate_session) -> send(downs, LINE, down_no_session, t)
        :: gate_session != 0 && SAME_SESSION(of_session[t], gate_session) && of_kind[t] == CHANGE -> change_over(t)
        :: else -> triggered(t, u)
        fi;
        t = 0
      }
    }
  :: atomic { up_ack_accepted != 0 && ROOM -> take(ups, up_ack_accepted, t); d_step { confirmed(t, ACCEPT, true); t = 0 } }
  :: atomic { up_ack_late != 0 && ROOM -> take(ups, up_ack_late, t); d_step { confirmed(t, ACCEPT, false); t = 0 } }
  :: atomic { up_ack_rejected != 0 && ROOM -> take(ups, up_ack_rejected, t); d_step { confirmed(t, REJECT, false); t = 0 } }
  :: d_step { HURRY && case_of != 0 && case_time == IN_TIME && case_sending != REJECT -> printf("@ gate.cutoff\n"); case_time = PAST_CUTOFF }
  :: d_step { case_time == PAST_CUTOFF && (case_sending == ACCEPT || (BUG(LATE_ACCEPT) && case_stage == COMMITTING)) -> printf("@ gate.deadline\n"); case_time = PAST_DEADLINE }
  :: d_step {                                       /* tick: _no_frame, _withhold */
      case_stage == WAITING && case_time != IN_TIME && ROOM -> printf("@ gate.no_frame\n");
      conclude(REJECT, VERDICT_ROW)
    }
  :: d_step { case_stage == COMMITTING && case_time != IN_TIME -> printf("@ gate.record_late\n"); withhold() }
  :: d_step {                                       /* the link hands the verdict over: `sent`, or drops what is too late */
      case_stage == SENDING ->
      if
      :: case_sending == ACCEPT && case_time == PAST_DEADLINE && !BUG(LATE_ACCEPT) -> printf("@ gate.drops %d\n", CASE); case_stage = SENT
      :: else -> printf("@ gate.sends %d %d\n", CASE, case_sending); case_stage = SENT; case_sent = true; hand_over(CASE, case_sending)
      fi
    }
  :: d_step { DROPS && faults > 0 && case_stage == SENDING -> printf("@ gate.drops %d\n", CASE); faults--; case_stage = SENT }
  :: d_step {                                       /* tick: _press resends */
      case_stage == SENT && case_sent && (case_time == IN_TIME || BUG(RESEND_AFTER_DEADLINE)) &&
      !HAS(down_accept, CASE) && !HAS(down_reject, CASE) ->
      printf("@ gate.resends %d %d\n", CASE, case_sending);
      hand_over(CASE, case_sending)
    }
  :: d_step { (HURRY || robot_open == 0) && case_stage == SENT && ROOM -> printf("@ gate.ack_timeout\n"); close_case(DONE_OTHER) }   /* tick: _press gives up */
  :: d_step { ROBOT_FALLS && faults > 0 && gate_session != 0 && ROOM -> printf("@ gate.robot_silent\n"); faults--; void_session(DONE_OTHER) }
  :: d_step { late_send != 0 -> t = late_send - 1; late_send = 0; case_time = IN_TIME; hand_over(t, recorded_outcome[t]); t = 0 }
  :: atomic {                                       /* told: a Report */
      gate_inspector && ROOM && A_REPORT -> report_arrives(t);
      d_step {
        printf("@ gate.hears_report %d\n", t);
        gate_silent = false;
        if
        :: case_stage == WAITING && (SAME_KEY(t, CASE) && SAME_SESSION(of_session[t], gate_session) || BUG(NEWEST_FRAME)) -> judge(t)
        :: !(case_stage == WAITING && (SAME_KEY(t, CASE) && SAME_SESSION(of_session[t], gate_session) || BUG(NEWEST_FRAME))) &&
           gate_session != 0 && SAME_SESSION(of_session[t], gate_session) && of_sequence[t] > gate_last -> gate_early = t + 1
        :: else -> skip
        fi;
        t = 0
      }
    }
  :: d_step {                                       /* inspector_up, told: InspectorState */
      (!gate_inspector || gate_silent || gate_bundle != bundle) && ROOM ->
      printf("@ gate.hears_state %d\n", bundle);
      gate_inspector = true; gate_silent = false; gate_bundle = bundle
    }
  :: d_step { INSPECTOR_FALLS && faults > 0 && gate_inspector && !gate_silent && ROOM ->   /* tick: the inspector is silent */
      printf("@ gate.inspector_silent\n"); faults--; gate_silent = true; reject_hopeless() }
  :: d_step { INSPECTOR_FALLS && faults > 0 && gate_inspector && ROOM ->                   /* inspector_down: it was killed, with every frame it had */
      printf("@ inspector.killed\n"); faults--; gate_inspector = false; gate_silent = false; gate_bundle = 0;
      t = 0;
      do :: t < TRIGGERS -> if :: frame[t] != 0 -> frame[t] = GONE :: else -> skip fi; t++ :: else -> break od;
      t = 0;
      reject_hopeless() }
  :: d_step {                                       /* recorded, record_failed, store_back */
      len(disk_results) > 0 && ROOM ->
      disk_results?u,t;
      if
      :: u == TRIGGER_DURABLE -> printf("@ gate.trigger_durable %d\n", t);
        if
        :: case_of == t + 1 -> case_durable = true;
          if :: case_stage <= COMMITTING -> taken(t) :: else -> skip fi
        :: else -> skip
        fi
      :: u == VERDICT_DURABLE -> printf("@ gate.verdict_durable %d\n", t);
        if
        :: case_of == t + 1 && (case_stage == COMMITTING || (BUG(TWO_VERDICTS) && case_stage == SENT)) ->
          if
          :: (case_time == IN_TIME || BUG(LATE_ACCEPT) || BUG(TWO_VERDICTS)) && gate_heals -> prepare(ACCEPT)
          :: else -> withhold()
          fi
        :: else -> skip
        fi
      :: u == FAILED -> printf("@ gate.disk_failed\n");
        if
        :: BUG(FAILED_WRITE_ACCEPTED) -> if :: case_stage == COMMITTING -> prepare(ACCEPT) :: else -> skip fi
        :: else ->
          gate_heals = false;
          if :: case_stage == COMMITTING -> withhold() :: else -> skip fi;
          reject_hopeless()
        fi
      :: else -> printf("@ gate.disk_back\n"); gate_heals = true
      fi;
      u = 0; t = 0
    }
  :: d_step {                                       /* SIGKILL or power cut: what is not durable is lost; then started again */
      GATE_FALLS && faults > 0 -> printf("@ gate.killed\n"); faults--;
      do :: len(disk_queue) > 0 -> disk_queue?_,_ :: len(disk_queue) == 0 -> break od;
      restarted()
    }
  :: d_step {                                       /* SIGTERM: stop, close, Recorder.close; then started again */
      GATE_FALLS && faults > 0 && ROOM && !disk_failing -> printf("@ gate.stopped\n"); faults--;
      if
      :: case_stage == WAITING -> conclude(REJECT, VERDICT_ROW)
      :: case_stage == COMMITTING -> withhold()
      :: else -> skip
      fi;
      void_session(DONE_OTHER);
      do :: len(disk_queue) > 0 -> disk_queue?u,t; written(u, t) :: len(disk_queue) == 0 -> break od;
      u = 0;
      restarted()
    }
  od
}
