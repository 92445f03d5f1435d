from pathlib import Path

from edge.gate.messages import CODES, Trigger
from edge.gate.modbus_map import ANSWER, COMMAND, DONE_WORDS, LIFE, REASONS, REFUSALS, STATE_WORDS, command_registers, type_word

TEXT = (Path(__file__).parents[2] / "docs" / "modbus.md").read_text(encoding="utf-8")


def test_every_field_of_every_block_stands_there_with_its_address() -> None:
    for block in (COMMAND, LIFE, ANSWER):
        offsets = block.offsets()
        ends = [*list(offsets.values())[1:], block.size]
        for (name, offset), end in zip(offsets.items(), ends, strict=True):
            assert f"| `{block.base + offset:04X}` | {end - offset} | {name} |" in TEXT
        assert f"`{block.base:04X}`, exactly {block.size} registers" in TEXT
        assert f"| {block.name} | `{block.seed ^ 0xFFFFFFFF:08X}` | `crc32(bytes, 0x{block.seed:08X})` |" in TEXT


def test_every_word_and_number_stands_there() -> None:
    words = [f"`{letter}` `{type_word(letter):04X}`" for letter in "HTACPBVW-"]
    words += [f"`{state.value}` `{word:04X}`" for state, word in STATE_WORDS.items()]
    words += [f"`{done.value}` `{word:04X}`" for done, word in DONE_WORDS.items()]
    words += [f"`{outcome.value}` `{code:04X}` `{code ^ 0xFFFF:04X}`" for outcome, code in CODES.items()]
    words += [f"{number} `{reason.value}`" for number, reason in enumerate(REASONS)]
    words += [f"{number} `{refusal.value}`" for number, refusal in enumerate(REFUSALS, 1)]
    assert [word for word in words if word not in TEXT] == []


def test_the_example_is_what_a_robot_writes() -> None:
    trigger = Trigger(session="5f0c91d27be4a03c", sequence=1, part="P0417", weld="W03", typology="T5")
    assert " ".join(f"{word:04X}" for word in command_registers(trigger)[1]) in TEXT
