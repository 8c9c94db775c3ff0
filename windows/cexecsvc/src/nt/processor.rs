//! What the processor can do, from `CPUID`.

use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv, CpuidResult};

/// Identity of the processor.
pub(crate) struct Processor {
    /// `GenuineIntel`, `AuthenticAMD`, …
    pub(crate) vendor: String,
    /// Marketing name.
    pub(crate) brand: String,
    /// Family, with the extended family added.
    pub(crate) family: u32,
    /// Model, with the extended model.
    pub(crate) model: u32,
    /// Stepping.
    pub(crate) stepping: u32,
}

impl Processor {
    /// Reads the identity of the processor this runs on.
    pub(crate) fn identify() -> Self {
        let head = leaf(0, 0);
        let vendor = text(&[head.ebx, head.edx, head.ecx]);
        let signature = leaf(1, 0).eax;
        let (base, extended) = (signature >> 8 & 0xf, signature >> 20 & 0xff);
        let family = if base == 0xf { base + extended } else { base };
        let model = signature >> 4 & 0xf | (signature >> 16 & 0xf) << 4;
        let brand = if leaf(0x8000_0000, 0).eax >= 0x8000_0004 {
            let parts = [0x8000_0002, 0x8000_0003, 0x8000_0004].map(|number| leaf(number, 0));
            text(&parts.map(|part| [part.eax, part.ebx, part.ecx, part.edx]).concat())
        } else {
            vendor.clone()
        };
        Self { vendor, brand, family, model, stepping: signature & 0xf }
    }

    /// The value of `PROCESSOR_IDENTIFIER`, without the vendor.
    pub(crate) fn identifier(&self) -> String {
        let maker = if self.vendor == "AuthenticAMD" { "AMD64" } else { "Intel64" };
        let Self { family, model, stepping, .. } = self;
        format!("{maker} Family {family} Model {model} Stepping {stepping}")
    }
}

/// `ProcessorFeatures` of `KUSER_SHARED_DATA`: one byte for each `PF_*` of `winnt.h`.
pub(crate) fn features() -> [u8; 64] {
    let (one, seven, extended) = (leaf(1, 0), leaf(7, 0), leaf(0x8000_0001, 0));
    let xsave = one.ecx & 1 << 27 != 0;
    let state = enabled_state();
    let avx = state & 4 != 0 && one.ecx & 1 << 28 != 0;
    let found = [
        (2, one.edx & 1 << 8 != 0),           // PF_COMPARE_EXCHANGE_DOUBLE
        (3, one.edx & 1 << 23 != 0),          // PF_MMX_INSTRUCTIONS_AVAILABLE
        (6, one.edx & 1 << 25 != 0),          // PF_XMMI_INSTRUCTIONS_AVAILABLE
        (8, one.edx & 1 << 4 != 0),           // PF_RDTSC_INSTRUCTION_AVAILABLE
        (9, one.edx & 1 << 6 != 0),           // PF_PAE_ENABLED
        (10, one.edx & 1 << 26 != 0),         // PF_XMMI64_INSTRUCTIONS_AVAILABLE
        (12, extended.edx & 1 << 20 != 0),    // PF_NX_ENABLED
        (13, one.ecx & 1 != 0),               // PF_SSE3_INSTRUCTIONS_AVAILABLE
        (14, one.ecx & 1 << 13 != 0),         // PF_COMPARE_EXCHANGE128
        (17, xsave),                          // PF_XSAVE_ENABLED
        (22, seven.ebx & 1 != 0),             // PF_RDWRFSGSBASE_AVAILABLE
        (23, true),                           // PF_FASTFAIL_AVAILABLE
        (28, one.ecx & 1 << 30 != 0),         // PF_RDRAND_INSTRUCTION_AVAILABLE
        (32, extended.edx & 1 << 27 != 0),    // PF_RDTSCP_INSTRUCTION_AVAILABLE
        (36, one.ecx & 1 << 9 != 0),          // PF_SSSE3_INSTRUCTIONS_AVAILABLE
        (37, one.ecx & 1 << 19 != 0),         // PF_SSE4_1_INSTRUCTIONS_AVAILABLE
        (38, one.ecx & 1 << 20 != 0),         // PF_SSE4_2_INSTRUCTIONS_AVAILABLE
        (39, avx),                            // PF_AVX_INSTRUCTIONS_AVAILABLE
        (40, avx && seven.ebx & 1 << 5 != 0), // PF_AVX2_INSTRUCTIONS_AVAILABLE
        (41, state & 0xe0 == 0xe0 && seven.ebx & 1 << 16 != 0), // PF_AVX512F_INSTRUCTIONS_AVAILABLE
    ];
    let mut features = [0; 64];
    for (index, present) in found {
        features[index] = u8::from(present);
    }
    features
}

/// States the operating system saves, of those the personality knows (AVX, MPX, AVX-512).
fn enabled_state() -> u64 {
    const KNOWN: u64 = 0xff;
    if leaf(1, 0).ecx & 1 << 27 == 0 {
        return 0;
    }
    // SAFETY: the bit just tested says that XGETBV is enabled.
    KNOWN & unsafe { read_xcr0() }
}

#[target_feature(enable = "xsave")]
unsafe fn read_xcr0() -> u64 {
    // SAFETY: register 0 exists wherever XGETBV does.
    unsafe { _xgetbv(0) }
}

/// One extended state: its number, offset, size, and whether the compact form aligns it.
struct State {
    number: usize,
    offset: u32,
    size: u32,
    aligned: bool,
}

/// `XSTATE_CONFIGURATION` of `winnt.h`, as it lies at `0x3d8` of `KUSER_SHARED_DATA`; `None`
/// without extended states.
pub(crate) fn extended_state() -> Option<Vec<u8>> {
    /// Bytes of the legacy x87 part and of sixteen XMM registers, and where the first extended
    /// state of the compact form begins ("XSAVE area", Intel SDM volume 1, chapter 13).
    const LEGACY: [u32; 2] = [160, 256];
    const EXTENDED_AT: u32 = 576;

    let mask = enabled_state();
    if mask >> 2 == 0 || leaf(0, 0).eax < 0xd {
        return None;
    }
    let (area, saving) = (leaf(0xd, 0), leaf(0xd, 1));
    let compact = saving.eax & 2 != 0;
    let states: Vec<State> = (2..8)
        .filter(|number| mask & 1 << number != 0)
        .map(|number| {
            let state = leaf(0xd, number);
            let (offset, size, aligned) = (state.ebx, state.eax, state.ecx & 2 != 0);
            State { number: usize::try_from(number).unwrap_or_default(), offset, size, aligned }
        })
        .collect();
    let mut layout = vec![0; 820];
    let mut put = |at: usize, bytes: &[u8]| layout[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(mask | 3).to_le_bytes());
    put(8, &(mask | 3).to_le_bytes());
    put(20, &(saving.eax & 3).to_le_bytes());
    put(24 + 4, &LEGACY[0].to_le_bytes());
    put(32, &LEGACY[0].to_le_bytes());
    put(32 + 4, &LEGACY[1].to_le_bytes());
    put(552, &area.ebx.to_le_bytes());
    put(556, &LEGACY[0].to_le_bytes());
    put(560, &LEGACY[1].to_le_bytes());
    let (mut end, mut aligned) = (EXTENDED_AT, 0_u64);
    for state in &states {
        put(24 + state.number * 8, &state.offset.to_le_bytes());
        put(28 + state.number * 8, &state.size.to_le_bytes());
        put(556 + state.number * 4, &state.size.to_le_bytes());
        if state.aligned {
            aligned |= 1 << state.number;
            end = end.next_multiple_of(64);
        }
        end += state.size;
    }
    let standard = states.last().map_or(EXTENDED_AT, |state| state.offset + state.size);
    put(16, &(if compact { end } else { standard }).to_le_bytes());
    put(544, &aligned.to_le_bytes());
    Some(layout)
}

fn leaf(number: u32, part: u32) -> CpuidResult {
    if part == 0 { __cpuid(number) } else { __cpuid_count(number, part) }
}

fn text(registers: &[u32]) -> String {
    let bytes: Vec<u8> = registers.iter().flat_map(|register| register.to_le_bytes()).collect();
    String::from_utf8_lossy(&bytes).trim_matches(['\0', ' ']).to_owned()
}

/// Nominal speed, as the processor itself reports it; an estimate where it does not.
pub(crate) fn megahertz() -> u32 {
    /// What `GetSystemInfo`-era programs divide by must not be zero.
    const FALLBACK: u32 = 2000;
    let reported = if leaf(0, 0).eax >= 0x16 { leaf(0x16, 0).eax & 0xffff } else { 0 };
    let named = || {
        let brand = Processor::identify().brand;
        let gigahertz = brand.split('@').nth(1)?.trim().strip_suffix("GHz")?.parse::<f64>().ok()?;
        Some(format!("{:.0}", gigahertz * 1000.0)).and_then(|text| text.parse().ok())
    };
    if reported > 0 { reported } else { named().unwrap_or(FALLBACK) }
}
