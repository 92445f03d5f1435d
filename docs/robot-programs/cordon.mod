MODULE Cordon
  ! Ask the vision box for a verdict on a weld (serial link, see docs/robot-link.md).
  ! Runs in a task of its own (option Multitasking, type SEMISTATIC). The task that moves the robot declares the same PERS variables,
  ! writes cr_part, cr_weld, cr_typology (whole part: the recipe), then cr_ask := 1 (weld) or 2 (whole part); gives cr_session and cr_sequence
  ! to the camera; and waits for cr_result: 0 open, 1 ACCEPT, 2 REJECT.
  ! com1 in the system parameters: 38400 baud, 8 data bits, 1 stop bit, no parity, no flow control.
  ! A string holds 80 characters, a frame up to 124: frames are kept as arrays of bytes (num 0 to 255).
  CONST dnum START := 3416599872;        ! CBA52D40h
  CONST dnum POLYNOMIAL := 3988292384;  ! EDB88320h
  CONST dnum ALL_ONES := 4294967295;
  CONST num MAX_LENGTH := 124;
  CONST num HEARTBEAT_S := 0.080;
  CONST num SILENCE_S := 0.240;
  CONST num REPEAT_S := 0.060;
  CONST num DEADLINE_S := 0.311;
  CONST num NO_SESSION := 0;
  CONST num IDLE := 1;
  CONST num WAITING := 2;

  PERS num cr_ask := 0;
  PERS num cr_result := 2;
  PERS num cr_sequence := 0;
  PERS num cr_starts := 0;              ! kept over power-off
  PERS string cr_part := "";
  PERS string cr_weld := "";
  PERS string cr_typology := "";
  PERS string cr_session := "";

  VAR iodev link;
  VAR clock clk;
  VAR num state := 0;
  VAR num counter := 0;
  VAR num sent := 0;
  VAR num repeated := 0;
  VAR num beat := 0;
  VAR num heard_at := 0;
  VAR bool acked := FALSE;
  VAR string nonce := "";
  VAR string gate_count := "";
  VAR string key := "";
  VAR string done_word := "";
  VAR dnum table{16};
  ! byte arrays and their lengths
  VAR num line{128};
  VAR num line_n := 0;
  VAR num body{128};
  VAR num body_n := 0;
  VAR num out{160};
  VAR num out_n := 0;
  VAR num question{128};
  VAR num question_n := 0;
  VAR num head{128};
  VAR num head_n := 0;
  VAR num expected{128};
  VAR num expected_n := 0;
  VAR num last{128};
  VAR num last_n := 0;
  VAR num said{128};
  VAR num said_n := 0;

  PROC main()
    state := NO_SESSION;
    line_n := 0;
    head_n := 0;
    last_n := 0;
    cr_ask := 0;
    cr_result := 2;
    FillTable;
    FreshNonce;
    ClkReset clk;
    ClkStart clk;
    Open "com1:", link\Bin;
    ClearIOBuff link;
    WHILE TRUE DO
      Receive;
      IF cr_ask <> 0 AND state = IDLE Ask;
      Timers;
    ENDWHILE
  ENDPROC

  PROC FillTable()
    VAR dnum value;
    FOR i FROM 0 TO 15 DO
      value := NumToDnum(i);
      FOR k FROM 1 TO 4 DO
        IF BitAndDnum(value, 1) = 1 THEN
          value := BitXOrDnum(BitRShDnum(value, 1), POLYNOMIAL);
        ELSE
          value := BitRShDnum(value, 1);
        ENDIF
      ENDFOR
      table{i + 1} := value;
    ENDFOR
  ENDPROC

  FUNC dnum Crc(VAR num bytes{*}, num first, num final)
    ! Four bits at a time through the table.
    VAR dnum value;
    VAR num n;
    value := START;
    FOR i FROM first TO final DO
      value := BitXOrDnum(value, NumToDnum(bytes{i}));
      FOR k FROM 1 TO 2 DO
        n := DnumToNum(BitAndDnum(value, 15)) + 1;
        value := BitXOrDnum(BitRShDnum(value, 4), table{n});
      ENDFOR
    ENDFOR
    RETURN BitXOrDnum(value, ALL_ONES);
  ENDFUNC

  FUNC string Hex(dnum value, num digits, bool upper)
    VAR string all;
    VAR string text := "";
    VAR dnum rest;
    all := "0123456789abcdef";
    IF upper all := "0123456789ABCDEF";
    rest := value;
    FOR i FROM 1 TO digits DO
      text := StrPart(all, DnumToNum(BitAndDnum(rest, 15)) + 1, 1) + text;
      rest := BitRShDnum(rest, 4);
    ENDFOR
    RETURN text;
  ENDFUNC

  PROC Add(VAR num bytes{*}, VAR num length, string text)
    FOR i FROM 1 TO StrLen(text) DO
      length := length + 1;
      bytes{length} := StrToByte(StrPart(text, i, 1)\Char);
    ENDFOR
  ENDPROC

  PROC Copy(VAR num source{*}, num source_n, VAR num target{*}, VAR num target_n)
    FOR i FROM 1 TO source_n DO
      target{i} := source{i};
    ENDFOR
    target_n := source_n;
  ENDPROC

  FUNC bool Same(VAR num one{*}, num one_n, VAR num other{*}, num other_n)
    IF one_n <> other_n RETURN FALSE;
    FOR i FROM 1 TO one_n DO
      IF one{i} <> other{i} RETURN FALSE;
    ENDFOR
    RETURN TRUE;
  ENDFUNC

  FUNC bool IsAnswer()
    IF head_n = 0 OR body_n <= head_n RETURN FALSE;
    FOR i FROM 1 TO head_n DO
      IF body{i} <> head{i} RETURN FALSE;
    ENDFOR
    RETURN TRUE;
  ENDFUNC

  PROC Say(VAR num bytes{*}, num length)
    ! Byte 36 is $, 42 is *, 13 ends the frame.
    out{1} := 36;
    FOR i FROM 1 TO length DO
      out{i + 1} := bytes{i};
    ENDFOR
    out_n := length + 2;
    out{out_n} := 42;
    Add out, out_n, Hex(Crc(bytes, 1, length), 8, TRUE);
    out_n := out_n + 1;
    out{out_n} := 13;
    WriteBin link, out, out_n;
  ENDPROC

  FUNC num NextByte()
    ! -1 when nothing came within 8 ms.
    RETURN ReadBin(link\Time:=0.008);
  ERROR
    IF ERRNO = ERR_DEV_MAXTIME THEN
      RETURN -1;
    ENDIF
    RAISE;
  ENDFUNC

  PROC Receive()
    VAR num c;
    c := NextByte();
    WHILE c >= 0 DO
      IF c = 13 OR c = 10 THEN
        LineEnd;
        line_n := 0;
      ELSEIF c = 36 THEN
        line_n := 1;
        line{1} := c;
      ELSEIF line_n > 0 THEN
        line_n := line_n + 1;
        line{line_n} := c;
        IF line_n >= MAX_LENGTH line_n := 0;
      ENDIF
      ! A line that never pauses must not keep the deadline waiting.
      Timers;
      c := NextByte();
    ENDWHILE
  ENDPROC

  PROC LineEnd()
    ! A frame counts only when its end is exactly the check that its body asks for.
    VAR string check;
    VAR num n;
    n := line_n - 10;
    IF n < 1 RETURN;
    IF line{n + 2} <> 42 RETURN;
    check := Hex(Crc(line, 2, n + 1), 8, TRUE);
    FOR i FROM 1 TO 8 DO
      IF line{n + 2 + i} <> StrToByte(StrPart(check, i, 1)\Char) RETURN;
    ENDFOR
    FOR i FROM 1 TO n DO
      body{i} := line{i + 1};
    ENDFOR
    body_n := n;
    Heard;
  ENDPROC

  FUNC string Field(num number)
    ! The numberth field of body; 0 is direction and type.
    VAR string text := "";
    VAR num n := 0;
    FOR i FROM 1 TO body_n DO
      IF body{i} = 44 THEN
        n := n + 1;
      ELSEIF n = number AND StrLen(text) < 32 THEN
        text := text + ByteToStr(body{i}\Char);
      ENDIF
    ENDFOR
    RETURN text;
  ENDFUNC

  PROC FreshNonce()
    ! 4 digits count the sessions (kept over power-off), 4 are the time of day in units of 2 s: never the same twice.
    VAR num seconds;
    cr_starts := (cr_starts + 1) MOD 65536;
    seconds := GetTime(\Hour) * 1800 + GetTime(\Min) * 30 + GetTime(\Sec) DIV 2;
    nonce := Hex(NumToDnum(cr_starts), 4, FALSE) + Hex(NumToDnum(seconds), 4, FALSE);
  ENDPROC

  PROC Heard()
    VAR string kind;
    kind := Field(0);
    IF kind = "GH" THEN
      Hello;
      RETURN;
    ENDIF
    IF state = NO_SESSION OR Field(1) <> cr_session RETURN;
    TEST kind
    CASE "GB":
      IF Field(3) <> gate_count THEN
        gate_count := Field(3);
        heard_at := ClkRead(clk);
      ENDIF
    CASE "GV", "GW":
      Verdict kind;
    CASE "GN":
      Refused;
    CASE "GK":
      IF state = WAITING AND Field(2) = NumToStr(cr_sequence, 0) acked := TRUE;
    ENDTEST
  ENDPROC

  PROC Hello()
    IF Field(2) <> nonce RETURN;
    IF state <> NO_SESSION THEN
      IF nonce + Field(1) <> cr_session LoseSession;
      RETURN;
    ENDIF
    IF Field(3) <> "1" OR Field(7) <> "H" RETURN;
    IF Field(6) <> "0000" AND Field(6) <> "0001" RETURN;
    cr_session := nonce + Field(1);
    cr_sequence := 0;
    gate_count := "";
    last_n := 0;
    heard_at := ClkRead(clk);
    state := IDLE;
  ENDPROC

  PROC Ask()
    ! The question, and the one answer that means ACCEPT.
    VAR num wish;
    wish := cr_ask;
    cr_ask := 0;
    IF cr_sequence = 65535 THEN
      LoseSession;
      RETURN;
    ENDIF
    cr_sequence := cr_sequence + 1;
    key := cr_session + "," + NumToStr(cr_sequence, 0);
    question_n := 0;
    head_n := 0;
    IF wish = 1 THEN
      Add question, question_n, "RT," + key + "," + cr_part;
      Add question, question_n, "," + cr_weld + "," + cr_typology;
      Add head, head_n, "GV," + key + "," + cr_part;
      Add head, head_n, "," + cr_weld + ",";
    ELSE
      Add question, question_n, "RP," + key + "," + cr_part;
      Add question, question_n, "," + cr_typology;       ! the recipe
      Add head, head_n, "GW," + key + "," + cr_part + ",";
    ENDIF
    Copy head, head_n, expected, expected_n;
    IF wish <> 1 Add expected, expected_n, "0,,";
    Add expected, expected_n, "ACCEPT,F85A,07A5,OK";
    acked := FALSE;
    cr_result := 0;
    state := WAITING;
    sent := ClkRead(clk);
    repeated := sent;
    Say question, question_n;
  ENDPROC

  PROC Verdict(string kind)
    IF Same(body, body_n, last, last_n) THEN
      Say said, said_n;
    ELSEIF state <> WAITING THEN
      IF IsAnswer() AND last_n = 0 THEN
        Confirm kind, "REJECTED";
      ELSE
        LoseSession;
      ENDIF
    ELSEIF NOT IsAnswer() THEN
      GiveUp;
    ELSEIF Same(body, body_n, expected, expected_n) AND ClkRead(clk) - sent <= DEADLINE_S THEN
      Confirm kind, "ACCEPTED";
      state := IDLE;
      cr_result := 1;
    ELSE
      Confirm kind, "REJECTED";
      state := IDLE;
      cr_result := 2;
    ENDIF
  ENDPROC

  PROC Confirm(string kind, string done)
    done_word := Field(5);
    IF kind = "GW" done_word := Field(6);
    IF done_word = "ACCEPT" OR done_word = "REJECT" OR done_word = "VOID" THEN
      Copy body, body_n, last, last_n;
      said_n := 0;
      Add said, said_n, "RA," + key + "," + done_word + "," + done;
      Say said, said_n;
    ENDIF
  ENDPROC

  PROC Refused()
    IF Field(3) = "SESSION" THEN
      LoseSession;
    ELSEIF state = WAITING AND Field(2) = NumToStr(cr_sequence, 0) THEN
      GiveUp;
    ENDIF
  ENDPROC

  PROC GiveUp()
    last_n := 0;
    state := IDLE;
    cr_result := 2;
  ENDPROC

  PROC LoseSession()
    IF state = WAITING GiveUp;
    state := NO_SESSION;
    cr_session := "";
    FreshNonce;
  ENDPROC

  PROC Timers()
    VAR num now;
    now := ClkRead(clk);
    IF state = WAITING AND now - sent > DEADLINE_S GiveUp;
    IF state = WAITING AND NOT acked AND now - repeated >= REPEAT_S THEN
      repeated := now;
      Say question, question_n;
    ENDIF
    IF state <> NO_SESSION AND now - heard_at > SILENCE_S LoseSession;
    IF now - beat >= HEARTBEAT_S THEN
      beat := now;
      counter := (counter + 1) MOD 65536;
      SendBeat;
    ENDIF
  ENDPROC

  PROC SendBeat()
    VAR num bytes{128};
    VAR num n := 0;
    IF state = NO_SESSION THEN
      Add bytes, n, "RH," + nonce + ",00000000,1,1,1,0000,H," + NumToStr(DEADLINE_S * 1000, 0);
    ELSEIF state = IDLE THEN
      Add bytes, n, "RB," + cr_session + ",READY," + NumToStr(counter, 0) + ",00000000";
    ELSE
      Add bytes, n, "RB," + cr_session + ",BUSY," + NumToStr(counter, 0) + ",00000000";
    ENDIF
    Say bytes, n;
  ENDPROC
ENDMODULE
