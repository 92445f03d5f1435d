/* The recorder: edge/gate/records.py and store.py. A transaction is durable whole or not at all, in the order submitted. */

inline written(kind, t) {                           /* Store.commit */
  if
  :: kind == TRIGGER_ROW || kind == TRIGGER_AND_VERDICT || kind == PART_ROWS -> rows_trigger[t]++
  :: else -> skip
  fi;
  if
  :: kind == VERDICT_ROW || kind == TRIGGER_AND_VERDICT || kind == PART_ROWS -> rows_verdict[t]++
  :: else -> skip
  fi;
  if
  :: kind == DISPOSITION_ROW -> rows_disposition[t]++
  :: else -> skip
  fi;
  CLAIM(I5_ONE_ROW_EACH, rows_trigger[t] <= 1 && rows_verdict[t] <= 1 && rows_disposition[t] <= 1)
}

proctype recorder() {
  byte kind, t;
end:
  do
  :: d_step {                                       /* Recorder._write: everything queued; `Durable` for whoever holds a ticket */
      len(disk_queue) > 0 && !disk_failing && len(disk_results) <= QUEUE - 3 ->
      printf("@ disk.commits\n");
      do
      :: len(disk_queue) > 0 ->
        disk_queue?kind,t;
        written(kind, t);
        if
        :: kind == TRIGGER_ROW -> disk_results!TRIGGER_DURABLE,t
        :: kind == PART_ROWS || (kind == VERDICT_ROW && recorded_outcome[t] == ACCEPT) -> disk_results!VERDICT_DURABLE,t
        :: else -> skip
        fi
      :: len(disk_queue) == 0 -> break
      od;
      kind = 0; t = 0
    }
  :: atomic {                                       /* a commit fails; its rows may have reached the disk all the same */
      DISK_FALLS && faults > 0 && len(disk_queue) > 0 && !disk_failing && len(disk_results) < QUEUE ->
      if
      :: d_step { faults--; printf("@ disk.fails 0\n"); disk_failing = true; disk_results!FAILED,0 }
      :: d_step {
          faults--; printf("@ disk.fails 1\n"); disk_failing = true; disk_results!FAILED,0;
          disk_queue?kind,t;
          written(kind, t);
          if
          :: BUG(RECOVERED_TWICE) -> disk_queue!kind,t
          :: else -> skip
          fi;
          kind = 0; t = 0
        }
      fi
    }
  :: d_step {                                       /* Recorder._try_again: checked, and everything kept is written */
      disk_failing && len(disk_results) < QUEUE ->
      printf("@ disk.recovers\n");
      do :: len(disk_queue) > 0 -> disk_queue?kind,t; written(kind, t) :: len(disk_queue) == 0 -> break od;
      disk_failing = false; disk_results!BACK,0;
      kind = 0; t = 0
    }
  od
}
