//! Linux bzImage: by default its ELF kernel is unpacked here and started through PVH; else the guest's own
//! decompressor runs, entered by the 64-bit (or, for a 32-bit kernel, the 32-bit) boot protocol.
//!
//! Source: Linux `Documentation/arch/x86/boot.rst`.

use super::layout::ZERO_PAGE;
use super::zero_page::{Params, field, long_entry, pieces};
use super::{Entry, Kind, LoadError, Piece, Plan, Source, bytes, pvh, unpack};

/// The 64-bit entry point lies this far into the protected-mode kernel.
const ENTRY_64_OFFSET: u64 = 0x200;
/// Boot protocol with a relocatable kernel, 64-bit entry and all fields that we read.
const VERSION_2_10: u16 = 0x020a;
const VERSION_2_12: u16 = 0x020c;
const XLF_KERNEL_64: u16 = 1;
const LOADED_HIGH: u8 = 1;
/// Where a kernel that states no preference is put.
const DEFAULT_ADDRESS: u64 = 1 << 20;

/// Is it a bzImage (or an older Linux image, which the plan refuses by name)?
pub fn is(image: &[u8]) -> bool {
    image.get(field::HEADER..field::HEADER + 4) == Some(b"HdrS") && bytes::u16(image, field::BOOT_FLAG) == Some(0xaa55)
}

/// The fields of the setup header that decide.
struct Header<'a> {
    raw: &'a [u8],
    version: u16,
    /// The protected-mode kernel.
    kernel: &'a [u8],
}

impl<'a> Header<'a> {
    fn parse(image: &'a [u8]) -> Result<Header<'a>, LoadError> {
        let truncated =
            |what, end: u64| LoadError::Truncated { kind: Kind::BzImage, what, end, have: image.len() as u64 };
        let bad = |what, value: u64, why| LoadError::Header { kind: Kind::BzImage, what, value, why };
        let version = bytes::u16(image, field::VERSION).ok_or(truncated("the setup header", 0x208))?;
        if version < VERSION_2_10 {
            return Err(bad("the boot protocol", version.into(), "2.10 or later is needed (Linux 2.6.31)"));
        }
        let end = field::HEADER + usize::from(bytes::u8(image, field::JUMP_DISTANCE).unwrap_or(0));
        if end < field::INIT_SIZE + 4 {
            return Err(bad("the setup header's end", end as u64, "it ends before init_size"));
        }
        let raw = image.get(field::SETUP_SECTS..end).ok_or(truncated("the setup header", end as u64))?;
        let sectors = match raw[0] {
            0 => 4,
            n => usize::from(n),
        };
        let start = (sectors + 1) * 512;
        let syssize = bytes::u32(raw, 3).unwrap_or(0);
        let kernel = image.get(start..).unwrap_or(&[]);
        let wanted = u64::from(syssize) * 16;
        // The build appends a CRC after the last paragraph, so the file may be up to 15 bytes short of syssize.
        if kernel.is_empty() || (kernel.len() as u64) < wanted.saturating_sub(15) {
            return Err(truncated("the kernel", start as u64 + wanted.max(1)));
        }
        let header = Header { raw, version, kernel };
        if header.u8(field::LOADFLAGS) & LOADED_HIGH == 0 {
            return Err(bad(
                "loadflags",
                header.u8(field::LOADFLAGS).into(),
                "a zImage, which loads below 1 MiB, is not supported",
            ));
        }
        Ok(header)
    }

    fn u8(&self, at: usize) -> u8 {
        bytes::u8(self.raw, at - field::SETUP_SECTS).unwrap_or(0)
    }
    fn u16(&self, at: usize) -> u16 {
        bytes::u16(self.raw, at - field::SETUP_SECTS).unwrap_or(0)
    }
    fn u32(&self, at: usize) -> u64 {
        bytes::u32(self.raw, at - field::SETUP_SECTS).unwrap_or(0).into()
    }
    fn u64(&self, at: usize) -> u64 {
        bytes::u64(self.raw, at - field::SETUP_SECTS).unwrap_or(0)
    }

    fn payload(&self) -> Option<&'a [u8]> {
        let at = self.u32(field::PAYLOAD_OFFSET) as usize;
        let bytes = self.u32(field::PAYLOAD_LENGTH) as usize;
        self.kernel.get(at..at.checked_add(bytes)?).filter(|p| !p.is_empty())
    }
}

/// The plan for a bzImage.
pub fn plan(source: &Source<'_>) -> Result<Plan, LoadError> {
    let header = Header::parse(source.image)?;
    if source.unpack {
        if let Some(plan) = unpacked(source, &header)? {
            return Ok(plan);
        }
        tracing::info!("no ELF kernel with a PVH note in the payload: the guest unpacks it itself");
    }
    compressed(source, &header)
}

/// The payload's kernel through PVH; `None` when it cannot be unpacked here or has no PVH note.
fn unpacked(source: &Source<'_>, header: &Header<'_>) -> Result<Option<Plan>, LoadError> {
    let Some(unpacked) = header.payload().and_then(unpack::unpack) else { return Ok(None) };
    let image = unpacked?;
    if !image.starts_with(b"\x7fELF") || !pvh::is(&image)? {
        return Ok(None);
    }
    pvh::plan(&Source { image: &image, ..*source }).map(Some)
}

/// The image as it is, at its preferred address.
fn compressed(source: &Source<'_>, header: &Header<'_>) -> Result<Plan, LoadError> {
    let preferred = header.u64(field::PREF_ADDRESS);
    let at = if preferred == 0 { DEFAULT_ADDRESS } else { preferred };
    let kernel_bytes = header.kernel.len() as u64;
    let needs = header.u32(field::INIT_SIZE).max(kernel_bytes);
    let mut kernel = Piece::new("the kernel", at, header.kernel.to_vec());
    kernel.zeros = needs - kernel_bytes;
    super::layout::check(std::slice::from_ref(&kernel), source.ram_bytes, source.reserved)?;
    let long = header.version >= VERSION_2_12 && header.u16(field::XLOADFLAGS) & XLF_KERNEL_64 != 0;
    let params = Params {
        header: header.raw,
        kernel_end: kernel.end(),
        code32_start: at,
        initrd_max: match header.u32(field::INITRD_ADDR_MAX) {
            0 => 0x37ff_ffff,
            n => n,
        },
        cmdline_bytes: match header.u32(field::CMDLINE_SIZE) {
            0 => 255,
            n => n,
        },
        long,
    };
    let mut all = pieces(source, &params)?;
    all.push(kernel);
    let entry = if long {
        long_entry(at.saturating_add(ENTRY_64_OFFSET))
    } else {
        Entry::Protected { eip: at as u32, eax: 0, ebx: 0, esi: ZERO_PAGE as u32 }
    };
    Ok(Plan { kind: Kind::BzImage, pieces: all, roms: Vec::new(), entry })
}
