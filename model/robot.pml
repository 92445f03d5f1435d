/* The robot: sim/robot_protocol.py, RobotProtocol; the function meant is named beside each step. */

inline robot_finish(passes) {                       /* _finish */
  if
  :: (passes) -> robot_lets_pass(robot_open - 1)
  :: else -> skip
  fi;
  if
  :: of_kind[robot_open - 1] == PART -> robot_part_recipe = 0; weld_passed = 0
  :: else -> skip
  fi;
  CLEAR(judged, robot_open - 1);
  robot_open = 0; robot_taken = false; robot_late = false
}

inline robot_lets_pass(t) {
  CLAIM(I1_BEFORE_THE_ROBOTS_DEADLINE, !robot_late);
  if
  :: of_kind[t] == PART ->
    CLAIM(I1_WHOLE_PART, robot_part_recipe != 0 && HAS(weld_passed, WELD_1) && good[WELD_1] &&
      (robot_part_recipe == 2 || (HAS(weld_passed, WELD_2) && good[WELD_2])))
  :: of_kind[t] != PART ->
    CLAIM(I1_GOOD_WELD, good[of_kind[t]]);
    CLAIM(I1_OWN_FRAME, HAS(judged, t));
    PUT(weld_passed, of_kind[t])
  fi;
  CLAIM(I3_USED_ONCE, !HAS(passed, t));
  PUT(passed, t)
}

inline robot_reject() {                             /* _reject: also drops `_last` */
  if
  :: robot_open != 0 -> robot_last = 0; robot_last_said = 0; robot_last_passed = false; robot_finish(false)
  :: else -> skip
  fi
}

inline robot_lose() {                               /* _lose */
  robot_reject();
  robot_session = 0; robot_sequence = 0; robot_recipe = 1; robot_part_recipe = 0; weld_passed = 0;
  robot_draws_nonce()
}

inline robot_draws_nonce() {                        /* past the bound, the robot says hello no more */
  if :: robot_nonce <= NONCES -> robot_nonce++ :: else -> skip fi
}

inline robot_asks(kind) {                           /* trigger */
  robot_sequence++;
  of_session[asked] = robot_session; of_sequence[asked] = robot_sequence; of_kind[asked] = kind;
  printf("@ robot.ask %d %d\n", asked, kind);
  send(ups, LINE_UP, up_ask, asked);
  if
  :: kind == WELD_1 || kind == WELD_2 ->
    frame[asked] = JUDGING; judged_by[asked] = bundle;
    weld_passed = weld_passed & ~BIT(kind);
    if :: robot_part_recipe == 0 -> robot_part_recipe = robot_recipe :: else -> skip fi
  :: else -> skip
  fi;
  robot_open = asked + 1;
  asked++
}

inline robot_confirms(t, said, passes) {            /* _confirm */
  robot_last = t + 1; robot_last_said = said; robot_last_passed = passes;
  if
  :: (said) == REJECT -> send(ups, LINE_UP, up_ack_rejected, t)
  :: (said) == ACCEPT && (passes) -> send(ups, LINE_UP, up_ack_accepted, t)
  :: else -> send(ups, LINE_UP, up_ack_late, t)
  fi
}

inline robot_verdict(t, said) {                     /* _verdict, _unasked */
  printf("@ robot.verdict %d %d\n", t, said);
  if
  :: robot_open != 0 && (SAME_ASKED(t, robot_open - 1) || BUG(ROBOT_COMPARES_NOTHING)) ->
    passes = ((said) == ACCEPT && (!robot_late || BUG(ROBOT_TAKES_LATE)));
    robot_confirms(t, said, passes);
    robot_finish(passes)
  :: robot_open != 0 && !(SAME_ASKED(t, robot_open - 1) || BUG(ROBOT_COMPARES_NOTHING)) ->
    if
    :: robot_last == t + 1 && robot_last_said == (said) -> skip
    :: else -> robot_reject()
    fi
  :: robot_open == 0 ->
    if
    :: robot_last == t + 1 && robot_last_said == (said) -> robot_confirms(t, said, robot_last_passed)
    :: !(robot_last == t + 1 && robot_last_said == (said)) && robot_last == 0 &&
       robot_session != 0 && SAME_SESSION(of_session[t], robot_session) && of_sequence[t] == robot_sequence ->
      robot_confirms(t, said, false)
    :: else -> robot_lose()
    fi
  fi;
  passes = false
}

proctype robot() {
  byte t;
  bool passes;
end:
  do
  :: d_step { robot_session != 0 && robot_open == 0 && asked < TRIGGERS -> robot_asks(WELD_1) }
  :: d_step { robot_session != 0 && robot_open == 0 && asked < TRIGGERS -> robot_asks(WELD_2) }
  :: d_step { PARTS && robot_session != 0 && robot_open == 0 && asked < TRIGGERS && robot_sequence > 0 -> robot_asks(PART) }
  :: d_step { CHANGES && robot_session != 0 && robot_open == 0 && asked < TRIGGERS && robot_recipe == 1 -> robot_asks(CHANGE) }
  :: d_step {                                       /* tick: repeat */
      REPEATS && robot_open != 0 && !robot_taken && !robot_late && !HAS(up_ask, robot_open - 1) ->
      printf("@ robot.repeat %d\n", robot_open - 1);
      send(ups, LINE_UP, up_ask, robot_open - 1)
    }
  :: d_step { robot_open != 0 && !robot_late -> printf("@ robot.deadline\n"); robot_late = true }
  :: d_step {                                       /* tick: the robot's own deadline */
      robot_open != 0 && robot_late ->
      printf("@ robot.gives_up\n");
      if
      :: of_kind[robot_open - 1] == CHANGE && !BUG(CHANGE_OVER_ASSUMED) -> robot_lose()
      :: of_kind[robot_open - 1] == CHANGE && BUG(CHANGE_OVER_ASSUMED) -> robot_reject()
      :: else -> robot_reject()
      fi
    }
  :: d_step {                                       /* tick: _sign_of_life while there is no session */
      robot_session == 0 && robot_nonce <= NONCES && !HAS(up_hello, robot_nonce) ->
      printf("@ robot.hello %d\n", robot_nonce);
      send(ups, LINE_UP, up_hello, robot_nonce)
    }
  :: d_step {                                       /* tick, line_lost: the gate's heartbeat stopped */
      ROBOT_FALLS && faults > 0 && robot_session != 0 ->
      printf("@ robot.gate_silent\n");
      faults--; robot_lose()
    }
  :: d_step {                                       /* reboot: everything is forgotten */
      ROBOT_FALLS && faults > 0 && robot_session != 0 ->
      printf("@ robot.reboot\n");
      faults--;
      robot_session = 0; robot_draws_nonce(); robot_sequence = 0; robot_open = 0; judged = 0; robot_taken = false; robot_late = false;
      robot_last = 0; robot_last_said = 0; robot_last_passed = false; robot_recipe = 1; robot_part_recipe = 0; weld_passed = 0
    }
  :: atomic {                                       /* received: H, _hello */
      down_hello != 0 -> take(downs, down_hello, t);
      d_step {
        printf("@ robot.hears_hello %d\n", t);
        if
        :: !SAME_NONCE(nonce_of[t], robot_nonce) -> skip
        :: SAME_NONCE(nonce_of[t], robot_nonce) && robot_session == t -> skip
        :: SAME_NONCE(nonce_of[t], robot_nonce) && robot_session != t && robot_session != 0 ->
          robot_lose()
        :: else ->
          robot_session = t; robot_sequence = 0; robot_last = 0; robot_last_said = 0; robot_last_passed = false
        fi;
        t = 0
      }
    }
  :: atomic {                                       /* received: K; the answer to a change-over too */
      down_taken != 0 -> take(downs, down_taken, t);
      d_step {
        printf("@ robot.hears_taken %d\n", t);
        if
        :: robot_open != 0 && SAME_ASKED(t, robot_open - 1) && of_kind[robot_open - 1] == CHANGE && !robot_late ->
          robot_recipe = 2; robot_finish(false)
        :: robot_open != 0 && SAME_ASKED(t, robot_open - 1) && of_kind[robot_open - 1] != CHANGE -> robot_taken = true
        :: else -> skip
        fi;
        t = 0
      }
    }
  :: atomic {                                       /* received: N SESSION, _nak */
      down_no_session != 0 -> take(downs, down_no_session, t);
      d_step {
        printf("@ robot.hears_no_session %d\n", t);
        if :: robot_session != 0 && SAME_SESSION(of_session[t], robot_session) -> robot_lose() :: else -> skip fi;
        t = 0
      }
    }
  :: atomic {                                       /* received: N with any other reason, _nak */
      down_refused != 0 -> take(downs, down_refused, t);
      d_step {
        printf("@ robot.hears_refused %d\n", t);
        if :: robot_open != 0 && SAME_KEY(t, robot_open - 1) -> robot_reject() :: else -> skip fi;
        t = 0
      }
    }
  :: atomic { down_accept != 0 -> take(downs, down_accept, t); d_step { robot_verdict(t, ACCEPT); t = 0 } }
  :: atomic { down_reject != 0 -> take(downs, down_reject, t); d_step { robot_verdict(t, REJECT); t = 0 } }
  od
}
