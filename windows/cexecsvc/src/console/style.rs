//! How a cell of a screen looks: as escape sequences say it, and as console attributes do.

/// A colour of the terminal's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Color {
    /// What the terminal has without being told.
    #[default]
    Default,
    /// An entry of its palette; the first 16 in ANSI's order.
    Index(u8),
    /// Red, green and blue.
    Rgb(u8, u8, u8),
}

/// Colours and marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// Colour of the character.
    pub(super) fore: Color,
    /// Colour behind it.
    pub(super) back: Color,
    /// Bit `n` stands for the rendition `n` of SGR: 1 bold, 2 faint, 3 italic, 4 underlined,
    /// 5 blinking, 7 inverse, 8 hidden, 9 crossed out.
    marks: u16,
}

const BOLD: u16 = 1 << 1;
const FAINT: u16 = 1 << 2;
const UNDERLINED: u16 = 1 << 4;
const INVERSE: u16 = 1 << 7;

/// `COMMON_LVB_REVERSE_VIDEO` and `COMMON_LVB_UNDERSCORE` of console attributes.
const LVB_REVERSE: u16 = 0x4000;
const LVB_UNDERSCORE: u16 = 0x8000;

impl Style {
    /// What an erased cell looks like: nothing but the colour behind it.
    pub(super) fn erased(self) -> Self {
        Self { back: self.back, ..Self::default() }
    }

    /// Applies the parameters of an SGR sequence.
    pub(super) fn render(&mut self, parameters: &str) {
        let mut groups = parameters.split(';');
        while let Some(group) = groups.next() {
            let mut parts = group.split(':').map(|part| part.parse::<u16>().unwrap_or(0));
            let code = parts.next().unwrap_or(0);
            match code {
                38 | 48 => {
                    let inner: Vec<u16> = parts.collect();
                    let color = if inner.is_empty() {
                        color(&mut groups.by_ref().map(|part| part.parse().unwrap_or(0)))
                    } else {
                        // `38:2:space:r:g:b` names a colour space, which nobody uses.
                        let skip = usize::from(inner.len() > 4);
                        let kept = inner.iter().take(1).chain(inner.iter().skip(1 + skip));
                        color(&mut kept.copied())
                    };
                    *(if code == 38 { &mut self.fore } else { &mut self.back }) = color;
                }
                4 if parts.next() == Some(0) => self.marks &= !UNDERLINED,
                _ => self.apply(code),
            }
        }
    }

    fn apply(&mut self, code: u16) {
        let index = |first: u16, base: u8| {
            Color::Index(u8::try_from(code - first).unwrap_or_default() + base)
        };
        match code {
            0 => *self = Self::default(),
            1..=5 | 7..=9 => self.marks |= 1 << code,
            22 => self.marks &= !(BOLD | FAINT),
            21 | 23..=25 | 27..=29 => self.marks &= !(1 << (code - 20)),
            30..=37 => self.fore = index(30, 0),
            39 => self.fore = Color::Default,
            40..=47 => self.back = index(40, 0),
            49 => self.back = Color::Default,
            90..=97 => self.fore = index(90, 8),
            100..=107 => self.back = index(100, 8),
            _ => {}
        }
    }

    /// The sequence that makes a terminal of any style write in this one.
    pub(super) fn sequence(self) -> String {
        if self == Self::default() {
            return "\x1b[m".to_owned();
        }
        let mut text = "\x1b[0".to_owned();
        for code in (1..10).filter(|code| self.marks & (1 << code) != 0) {
            text += &format!(";{code}");
        }
        for (color, normal, bright, other) in [(self.fore, 30, 90, 38), (self.back, 40, 100, 48)] {
            text += &match color {
                Color::Default => String::new(),
                Color::Index(index @ ..=7) => format!(";{}", normal + u32::from(index)),
                Color::Index(index @ 8..=15) => format!(";{}", bright + u32::from(index - 8)),
                Color::Index(index) => format!(";{other};5;{index}"),
                Color::Rgb(red, green, blue) => format!(";{other};2;{red};{green};{blue}"),
            };
        }
        text.push('m');
        text
    }

    /// The style that console attributes mean. Grey on black is what a terminal has by default.
    pub(super) fn from_attributes(attributes: u16) -> Self {
        let nibble = |shift: u16| swap(u8::try_from(attributes >> shift & 0xf).unwrap_or_default());
        let fore = Some(nibble(0)).filter(|index| *index != 7);
        let back = Some(nibble(4)).filter(|index| *index != 0);
        let mut marks = 0;
        if attributes & LVB_REVERSE != 0 {
            marks |= INVERSE;
        }
        if attributes & LVB_UNDERSCORE != 0 {
            marks |= UNDERLINED;
        }
        Self {
            fore: fore.map_or(Color::Default, Color::Index),
            back: back.map_or(Color::Default, Color::Index),
            marks,
        }
    }

    /// The console attributes that are nearest.
    pub(super) fn attributes(self) -> u16 {
        let index = |color, default| match color {
            Color::Index(index @ ..=15) => u16::from(swap(index)),
            _ => default,
        };
        let mut attributes = index(self.fore, 7) | index(self.back, 0) << 4;
        if self.marks & BOLD != 0 {
            attributes |= 8;
        }
        if self.marks & INVERSE != 0 {
            attributes |= LVB_REVERSE;
        }
        if self.marks & UNDERLINED != 0 {
            attributes |= LVB_UNDERSCORE;
        }
        attributes
    }
}

/// Consoles have blue where ANSI has red.
fn swap(index: u8) -> u8 {
    index & 0b1010 | (index & 1) << 2 | (index & 4) >> 2
}

/// The colour that follows a 38 or 48.
fn color(numbers: &mut dyn Iterator<Item = u16>) -> Color {
    let mut byte = || u8::try_from(numbers.next().unwrap_or_default()).unwrap_or(u8::MAX);
    match byte() {
        5 => Color::Index(byte()),
        2 => Color::Rgb(byte(), byte(), byte()),
        _ => Color::Default,
    }
}

/// Cells a character takes: none for what joins the one before it, two for the wide ones of East
/// Asia and for pictures (Unicode's `EastAsianWidth`, by blocks).
pub(super) fn width(character: char) -> usize {
    match u32::from(character) {
        0x300..=0x36f
        | 0x483..=0x489
        | 0x591..=0x5bd
        | 0x610..=0x61a
        | 0x64b..=0x65f
        | 0x200b..=0x200f
        | 0x202a..=0x202e
        | 0x2060..=0x2064
        | 0x20d0..=0x20ff
        | 0xfe00..=0xfe0f
        | 0xfe20..=0xfe2f
        | 0xfeff
        | 0xe0100..=0xe01ef => 0,
        0x1100..=0x115f
        | 0x231a..=0x231b
        | 0x2329..=0x232a
        | 0x23e9..=0x23ec
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xa960..=0xa97f
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x1fa70..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(parameters: &str) -> Style {
        let mut style = Style::default();
        style.render(parameters);
        style
    }

    #[test]
    fn what_a_sequence_says_is_what_is_said_again() {
        for (parameters, sequence) in [
            ("", "\x1b[m"),
            ("1;31", "\x1b[0;1;31m"),
            ("38;5;12;48;2;1;2;3", "\x1b[0;94;48;2;1;2;3m"),
            ("38:2::1:2:3", "\x1b[0;38;2;1;2;3m"),
            ("4:3", "\x1b[0;4m"),
            ("1;4;22;24;97", "\x1b[0;97m"),
            ("31;999;0", "\x1b[m"),
        ] {
            assert_eq!(rendered(parameters).sequence(), sequence, "{parameters}");
        }
    }

    #[test]
    fn attributes_survive_a_round_trip() {
        for attributes in [7, 0x1f, 0x4e, 0xc007, 0xf0] {
            assert_eq!(Style::from_attributes(attributes).attributes(), attributes);
        }
        assert_eq!(rendered("31").attributes(), 4);
        assert_eq!(Style::from_attributes(7), Style::default());
    }
}
