/* One line a bug: the number that seeds it, and what the mistake is. model/run.py reads this table. */
#define SESSION_WITHOUT_NONCE     1   /* nonces never change: nothing tells two sessions apart */
#define NEWEST_FRAME              2   /* the gate judges the trigger by whatever frame came last */
#define RECORD_AFTER_SEND         3   /* ACCEPT leaves while its record is still being written */
#define RESEND_AFTER_DEADLINE     4   /* a resend does not look at the time */
#define LATE_ACCEPT               5   /* a record that became durable too late still sends its ACCEPT */
#define ACK_WITHOUT_ECHO          6   /* the confirmation names a sequence only, neither session nor verdict */
#define DISPOSITION_FORGOTTEN     7   /* the end of a session closes no triggers */
#define SEQUENCE_REUSED           8   /* the restarted gate goes on with the old session but forgot its sequences */
#define FAILED_WRITE_ACCEPTED     9   /* a failed write is answered like a durable one, without a latch */
#define OLD_BUNDLE_ACCEPTED      10   /* a report of the old bundle is taken after the swap and recorded under the new one */
#define ACCEPT_AFTER_DISPOSITION 11   /* a repeated trigger is answered with ACCEPT although its disposition is written */
#define PART_OF_EARLIER_SESSION  12   /* the end of a session does not forget the welds of open parts */
#define PART_UNCONFIRMED_WELD    13   /* a part is accepted with a weld whose ACCEPT the robot did not confirm */
#define CHANGE_MID_PART          14   /* the recipe changes while a part is open */
#define RECOVERED_TWICE          15   /* after a failed write the rows are written again although they had reached the disk */
#define TWO_VERDICTS             16   /* a late record sends its ACCEPT after the REJECT that replaced it */
#define BUNDLE_AT_THE_END        17   /* the inspector stamps the bundle it has when the score is ready, not the one that judged */
#define ROBOT_TAKES_LATE         18   /* the robot acts on a verdict after its own deadline */
#define NO_LEFTOVERS             19   /* the restarted gate does not close what it finds open */
#define ROBOT_COMPARES_NOTHING   20   /* the robot takes any verdict for the trigger it waits for */
#define ACK_BEFORE_ROW           21   /* the trigger is acknowledged before its row is durable */
#define NO_DISCARD               22   /* what waits for the line still leaves after its session ended */
#define CHANGE_OVER_ASSUMED      23   /* the robot goes on under the new recipe without the gate's answer */
#define REJECT_READ_AS_ACCEPT    24   /* the gate takes a REJECT it sent for an ACCEPT when the part is counted */
