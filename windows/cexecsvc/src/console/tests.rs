//! Claims about consoles, from the calls that programs make to the bytes that terminals get.

use super::*;

/// UTF-8 whatever the page.
const CODEC: Codec = Codec {
    decode: |_, bytes| String::from_utf8_lossy(bytes).encode_utf16().collect(),
    encode: |_, units| String::from_utf16_lossy(units).into_bytes(),
};

fn console(width: u16, height: u16) -> Console {
    Console::new(ConsoleSize { height, width }, UTF_8, CODEC)
}

fn call(console: &mut Console, function: u32, output: u32, data: &[u8], room: usize) -> Answer {
    console.request(Request { code: 0x50 << 16 | function << 2, output, data, room })
}

fn print(console: &mut Console, text: &str) {
    let units: Vec<u16> = text.encode_utf16().collect();
    let answer = call(console, function::WRITE_CONSOLE, 1, &request::bytes(&units), 0);
    assert_eq!(answer, Answer::done());
}

/// What was sent since, as text.
fn sent(console: &mut Console) -> String {
    String::from_utf8(console.take_output()).unwrap()
}

/// A console that has cleared its terminal.
fn begun(width: u16, height: u16) -> Console {
    let mut console = console(width, height);
    print(&mut console, "");
    assert_eq!(sent(&mut console), "\x1b[2J\x1b[m\x1b[H");
    console
}

/// Reads a line with room for so many bytes; what was read before is forgotten.
fn read(console: &mut Console, room: usize) {
    console.take_read();
    call(console, function::READ_CONSOLE, 0, &[], room);
}

fn line(console: &mut Console) -> Option<String> {
    let answer = console.take_read()?;
    Some(String::from_utf16_lossy(&request::units(&answer.data)))
}

fn row(console: &mut Console, y: usize) -> String {
    let screen = console.screens.get_mut(&1).unwrap();
    (0..screen.columns).map(|x| screen.cell(x, y).unwrap().character).collect()
}

#[test]
fn escape_sequences_take_no_cells() {
    let mut console = begun(11, 3);
    print(&mut console, "\x1b[31mred\x1b[0m and on\r\n");
    assert_eq!(sent(&mut console), "\x1b[0;31mred\x1b[m and on\r\n");
    assert_eq!(row(&mut console, 0), "red and on ");
}

#[test]
fn a_program_finds_its_cursor_where_sequences_put_it() {
    let mut console = begun(20, 10);
    print(&mut console, "\x1b[5;7Hhere\x1b[2A");
    let info = call(&mut console, function::GET_OUTPUT_INFO, 1, &[], 100).data;
    assert_eq!(request::units(&info)[..6], [25, 1, 10, 2, 20, 10]);
    assert_eq!(sent(&mut console), "\x1b[5;7Hhere\x1b[3;11H");
}

#[test]
fn questions_are_answered_without_a_terminal() {
    let mut console = begun(20, 10);
    print(&mut console, "ab\x1b[6n\x1b[c\x1b]11;?\x07");
    assert_eq!(sent(&mut console), "ab");
    call(&mut console, function::SET_MODE, 0, &0_u32.to_le_bytes(), 0);
    read(&mut console, 200);
    assert_eq!(line(&mut console).as_deref(), Some("\x1b[1;3R\x1b[?1;0c"));
}

#[test]
fn a_line_is_echoed_key_by_key() {
    let mut console = begun(20, 3);
    print(&mut console, "> ");
    read(&mut console, 100);
    assert!(console.is_reading());
    for (typed, shown) in [
        ("a", "> a"),
        ("b", "b"),
        ("\x1b[D", "\x08"),
        ("X", "Xb\x08"),
        ("\x1b[4~", "\x1b[1C"),
        ("\x7f", "\x08 \x08"),
        ("é", "é"),
        ("\r", "\r\n"),
    ] {
        console.type_bytes(typed.as_bytes());
        assert_eq!(sent(&mut console), shown, "{typed:?}");
    }
    assert!(!console.is_reading());
    assert_eq!(line(&mut console).as_deref(), Some("aXé\r\n"));
}

#[test]
fn a_long_line_wraps_and_scrolls_and_comes_back() {
    let mut console = begun(5, 2);
    print(&mut console, "> ");
    read(&mut console, 100);
    console.type_bytes(b"abcdefghijk");
    assert_eq!((row(&mut console, 0), row(&mut console, 1)), ("defgh".into(), "ijk  ".into()));
    console.type_bytes(b"\x7f\x7f\x7f\x7f");
    assert_eq!((row(&mut console, 0), row(&mut console, 1)), ("defg ".into(), "     ".into()));
    console.type_bytes(b"\r");
    assert_eq!(line(&mut console).as_deref(), Some("abcdefg\r\n"));
}

#[test]
fn a_read_with_little_room_gets_the_line_in_parts() {
    let mut console = begun(20, 3);
    read(&mut console, 4);
    console.type_bytes(b"abc\r");
    assert_eq!(line(&mut console).as_deref(), Some("ab"));
    read(&mut console, 4);
    assert_eq!(line(&mut console).as_deref(), Some("c\r"));
    read(&mut console, 4);
    assert_eq!(line(&mut console).as_deref(), Some("\n"));
    read(&mut console, 4);
    assert_eq!(line(&mut console), None);
}

#[test]
fn bytes_are_read_in_the_code_page_and_control_z_ends_a_file() {
    let mut console = begun(20, 3);
    call(&mut console, function::READ_FILE, 0, &[], 3);
    console.type_bytes("éé\r".as_bytes());
    assert_eq!(console.take_read().unwrap().data, "é".as_bytes());
    call(&mut console, function::READ_FILE, 0, &[], 100);
    assert_eq!(console.take_read().unwrap().data, "é\r\n".as_bytes());
    call(&mut console, function::READ_FILE, 0, &[], 100);
    console.type_bytes(b"\x1a\r");
    assert_eq!(console.take_read(), Some(Answer::done()));
    assert!(sent(&mut console).ends_with("^Z\r\n"));
}

#[test]
fn control_c_is_an_event_and_ends_the_line() {
    let mut console = begun(20, 3);
    read(&mut console, 100);
    console.type_bytes(b"abc\x03");
    assert_eq!(console.take_events(), [0]);
    assert_eq!(sent(&mut console), "abc^C");
    assert_eq!(line(&mut console), None);
    // The handler of a shell goes on to the next row.
    print(&mut console, "\n");
    assert_eq!(line(&mut console).as_deref(), Some("\r\n"));
    read(&mut console, 100);
    console.type_bytes(b"\x03more\r");
    assert_eq!(line(&mut console).as_deref(), Some("more\r\n"));
    console.take_events();
    console.type_bytes(b"\x1c");
    assert_eq!(console.take_events(), [1]);
    assert_eq!(line(&mut console), None);
}

#[test]
fn control_c_is_a_key_for_a_program_that_wants_it() {
    let mut console = begun(20, 3);
    call(&mut console, function::SET_MODE, 0, &0_u32.to_le_bytes(), 0);
    call(&mut console, function::READ_INPUT, 0, &[], 100);
    console.type_bytes(b"\x03");
    assert!(console.take_events().is_empty());
    let records = console.take_read().unwrap().data;
    assert_eq!(request::units(&records)[..10], [1, 0, 1, 0, 1, 0x43, 0x2e, 3, 8, 0]);
    assert_eq!(records.len(), 2 * Record::SIZE);
}

#[test]
fn a_new_size_reaches_the_program_and_redraws_the_terminal() {
    let mut console = begun(20, 5);
    let mode = input::DEFAULT_MODE | input::WINDOW;
    call(&mut console, function::SET_MODE, 0, &mode.to_le_bytes(), 0);
    print(&mut console, "one\r\n\x1b[32mtwo\x1b[m\r\n> ");
    sent(&mut console);
    console.resize(ConsoleSize { height: 2, width: 10 });
    assert_eq!(row(&mut console, 0), "two       ");
    assert_eq!(
        sent(&mut console),
        "\x1b[r\x1b[1;1H\x1b[0;32mtwo\x1b[m\x1b[K\x1b[2;1H>\x1b[K\x1b[1C"
    );
    let record = call(&mut console, function::PEEK, 0, &[], 20).data;
    assert_eq!(request::units(&record)[..4], [4, 0, 10, 2]);
    // The same size again is how a client asks for what is on the screen.
    console.resize(ConsoleSize { height: 2, width: 10 });
    assert!(sent(&mut console).contains("two"));
    console.resize(ConsoleSize { height: 0, width: u16::MAX });
    assert_eq!((console.columns, console.rows), (1000, 1));
}

#[test]
fn the_old_calls_draw_as_sequences_do() {
    let mut console = begun(4, 3);
    print(&mut console, "abcd");
    // `cls`: blanks everywhere, and the cursor to the top.
    let words =
        |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let fill = words(&[0, 0, 0, 100, 1, 0x0007_0020]);
    let answer = call(&mut console, function::FILL_OUTPUT, 1, &fill, 4);
    assert_eq!(answer.data, 12_u32.to_le_bytes());
    assert_eq!(row(&mut console, 0), "    ");
    let cells = [words(&[1, 1, 2, 2]), request::bytes(&[0x41, 0x1f, 0x42, 7])].concat();
    let answer = call(&mut console, function::WRITE_OUTPUT, 1, &cells, 8);
    assert_eq!(request::units(&answer.data), [1, 1, 2, 1]);
    assert!(sent(&mut console).contains("\x1b[0;97;44mA\x1b[mB"));
    let there = call(&mut console, function::READ_OUTPUT, 1, &words(&[1, 1, 2, 2]), 16);
    assert_eq!(request::units(&there.data), [1, 1, 2, 1, 0x41, 0x1f, 0x42, 7]);
    let scroll = request::bytes(&[0, 1, 3, 2, 0, 0, 0, 0, 3, 2, 0x2e, 7]);
    assert_eq!(call(&mut console, function::SCROLL, 1, &scroll, 0), Answer::done());
    assert_eq!((row(&mut console, 0), row(&mut console, 2)), (" AB ".into(), "....".into()));
}

#[test]
fn the_terminal_is_left_as_it_was() {
    let mut console = begun(20, 5);
    print(&mut console, "\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[31mfull screen");
    sent(&mut console);
    console.close();
    let left = sent(&mut console);
    for sequence in ["\x1b[?1049l", "\x1b[?2004l", "\x1b[?25h", "\x1b[m"] {
        assert!(left.contains(sequence), "{sequence:?} is not in {left:?}");
    }
}

#[test]
fn another_screen_buffer_shows_itself_when_it_is_active() {
    let mut console = begun(8, 2);
    print(&mut console, "first");
    call(&mut console, function::INIT_OUTPUT, 2, &[], 0);
    let text: Vec<u16> = "second".encode_utf16().collect();
    sent(&mut console);
    call(&mut console, function::WRITE_CONSOLE, 2, &request::bytes(&text), 0);
    assert_eq!(sent(&mut console), "");
    call(&mut console, function::ACTIVATE, 2, &[], 0);
    assert!(sent(&mut console).contains("second"));
    call(&mut console, function::CLOSE_OUTPUT, 2, &[], 0);
    assert!(sent(&mut console).contains("first"));
    assert_eq!(call(&mut console, function::GET_MODE, 2, &[], 4), Answer::failed(INVALID_HANDLE));
}

#[test]
fn half_a_character_waits_for_the_other_half() {
    let mut console = begun(8, 2);
    for byte in "€".bytes() {
        call(&mut console, function::WRITE_FILE, 1, &[byte], 0);
    }
    print(&mut console, "\u{1f600}");
    assert_eq!(sent(&mut console), "€\u{1f600}");
    call(&mut console, function::WRITE_FILE, 1, b"\xff!", 0);
    assert_eq!(sent(&mut console), "\u{fffd}!");
}

#[test]
fn megabytes_pass_without_loss() {
    let mut console = begun(80, 25);
    let mut all = String::new();
    for number in 0..10_000 {
        print(&mut console, &format!("line {number}\r\n"));
        all += &sent(&mut console);
    }
    let lines = all.matches("line ").count();
    assert_eq!(lines, 10_000);
    assert!(all.ends_with("line 9999\r\n"));
}

#[test]
fn whatever_a_program_passes_is_answered() {
    let mut console = begun(7, 3);
    let mut seed = 1_u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 8
    };
    for _ in 0..20_000 {
        let length = usize::try_from(random() % 40).unwrap();
        let wild = random() % 4 == 0;
        let byte = |number: u32| u8::try_from(number % if wild { 256 } else { 8 }).unwrap();
        let data: Vec<u8> = (0..length).map(|_| byte(random())).collect();
        let room = usize::try_from(random() % 64).unwrap();
        let answer = call(&mut console, random() % 92, random() % 3, &data, room);
        assert!(answer.data.len() <= room.max(100));
        let mut text = String::from("\x1b[");
        text.extend((0..random() % 6).map(|_| {
            let letters = b"0123456789;?HJKLMPSTXrmhl@ABCDx\x1b[\n\t";
            char::from(letters[usize::try_from(random()).unwrap() % letters.len()])
        }));
        let units: Vec<u16> = text.encode_utf16().collect();
        call(&mut console, function::WRITE_CONSOLE, 1, &request::bytes(&units), 0);
        console.type_bytes(&data);
        if random() % 50 == 0 {
            let side = |number: u32| u16::try_from(number % 12).unwrap();
            console.resize(ConsoleSize { height: side(random()), width: side(random()) });
        }
        console.take_output();
        console.take_read();
        console.take_events();
    }
}
