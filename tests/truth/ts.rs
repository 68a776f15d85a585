//! MPEG-TS as packets, to make of a sane stream what encoders and networks make of it.

/// Length of a packet.
pub const PACKET: usize = 188;

/// Splits a stream into its packets.
pub fn packets(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.chunks_exact(PACKET).map(<[u8]>::to_vec).collect()
}

/// Number of a packet's stream.
pub fn pid(packet: &[u8]) -> u16 {
    u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2])
}

/// True where something begins in a packet.
pub fn starts(packet: &[u8]) -> bool {
    packet[1] & 0x40 != 0
}

/// Where a packet's payload begins.
pub fn payload_at(packet: &[u8]) -> usize {
    if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 }
}

/// True where the packet says that decoding may begin in it.
pub fn random_access(packet: &[u8]) -> bool {
    packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x40 != 0
}

/// Takes the times out of the head of the unit that begins in a packet.
pub fn strip_times(packet: &mut [u8]) {
    let at = payload_at(packet);
    let length = usize::from(packet[at + 8]);
    packet[at + 7] &= 0x3f;
    packet[at + 9..at + 9 + length].fill(0xff);
}

/// Makes a packet in which a unit begins one in which the unit before it goes on: two access units in one.
pub fn merge_into_the_one_before(packet: &mut Vec<u8>) {
    let at = payload_at(packet);
    let body = packet[at + 9 + usize::from(packet[at + 8])..].to_vec();
    let mut out = vec![packet[0], packet[1] & !0x40, packet[2], packet[3] & 0x0f | 0x30];
    let fill = PACKET - 5 - body.len();
    out.push(fill as u8);
    if fill > 0 {
        out.push(0);
        out.resize(5 + fill, 0xff);
    }
    out.extend(body);
    *packet = out;
}

/// Says of the unit that begins in a packet that it ends where the next one begins.
pub fn without_length(packet: &mut [u8]) {
    let at = payload_at(packet);
    packet[at + 4..at + 6].fill(0);
}

/// CRC of a section.
pub fn crc(section: &[u8]) -> [u8; 4] {
    let crc = section.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    });
    crc.to_be_bytes()
}

/// Changes the content of the section that a packet holds, and mends its checksum.
pub fn edit_section(packet: &mut [u8], edit: impl FnOnce(&mut Vec<u8>)) {
    let at = payload_at(packet) + 1;
    let length = 3 + (usize::from(packet[at + 1] & 0x0f) << 8 | usize::from(packet[at + 2]));
    let mut section = packet[at..at + length - 4].to_vec();
    edit(&mut section);
    let length = section.len() + 4 - 3;
    section[1] = section[1] & 0xf0 | (length >> 8) as u8;
    section[2] = length as u8;
    let sum = crc(&section);
    section.extend(sum);
    packet[at..].fill(0xff);
    packet[at..at + section.len()].copy_from_slice(&section);
}
