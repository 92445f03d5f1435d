/* The serial line: any message under way may be the next one to arrive; it may arrive again, or never. */

inline pick(mask, t) {
  if
  :: HAS(mask, 0) -> t = 0
  :: HAS(mask, 1) -> t = 1
  :: HAS(mask, 2) -> t = 2
  :: HAS(mask, 3) -> t = 3
  :: HAS(mask, 4) -> t = 4
  :: HAS(mask, 5) -> t = 5
  fi
}

inline send(count, most, mask, t) {
  if
  :: !HAS(mask, t) && count < most -> PUT(mask, t); count++
  :: else -> skip
  fi
}

inline take(count, mask, t) {                       /* one message of the set; it stays there while copies are left */
  pick(mask, t);
  if
  :: CLEAR(mask, t); count--
  :: copies > 0 -> copies--; printf("@ wire.copy\n")
  fi
}

inline lose(count, mask, t) {
  pick(mask, t); CLEAR(mask, t); count--; t = 0; printf("@ wire.loses\n")
}

proctype wire() {
  byte t;
end:
  do
  :: atomic { HURRY && up_hello != 0 -> lose(ups, up_hello, t) }
  :: atomic { HURRY && up_ask != 0 -> lose(ups, up_ask, t) }
  :: atomic { HURRY && up_ack_accepted != 0 -> lose(ups, up_ack_accepted, t) }
  :: atomic { HURRY && up_ack_late != 0 -> lose(ups, up_ack_late, t) }
  :: atomic { HURRY && up_ack_rejected != 0 -> lose(ups, up_ack_rejected, t) }
  :: atomic { HURRY && down_hello != 0 -> lose(downs, down_hello, t) }
  :: atomic { HURRY && down_taken != 0 -> lose(downs, down_taken, t) }
  :: atomic { HURRY && down_no_session != 0 -> lose(downs, down_no_session, t) }
  :: atomic { HURRY && down_refused != 0 -> lose(downs, down_refused, t) }
  :: atomic { HURRY && down_accept != 0 -> lose(downs, down_accept, t) }
  :: atomic { HURRY && down_reject != 0 -> lose(downs, down_reject, t) }
  od
}
