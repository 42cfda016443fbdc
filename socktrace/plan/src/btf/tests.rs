//! Tests of the BTF reader, with hand-written BTF.

use super::{writer::Writer, *};

impl Writer {
    fn int(&mut self, name: &str, bytes: u32) -> u32 {
        self.add(name, kind::INT, false, 0, bytes, &[0])
    }

    fn structure(&mut self, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let tail: Vec<u32> =
            members.iter().flat_map(|&(name, ty, bits)| [self.string(name), ty, bits]).collect();
        let vlen = u32::try_from(members.len()).expect("small");
        self.add(name, kind::STRUCT, false, vlen, size, &tail)
    }

    fn function(&mut self, name: &str, parameters: &[u32]) -> u32 {
        let tail: Vec<u32> = parameters.iter().flat_map(|&ty| [0, ty]).collect();
        let vlen = u32::try_from(parameters.len()).expect("small");
        let proto = self.add("", kind::FUNC_PROTO, false, vlen, 0, &tail);
        self.add(name, kind::FUNC, false, 0, proto, &[])
    }

    fn parse(&self) -> Btf {
        Btf::parse(self.bytes()).expect("well-formed")
    }
}

#[test]
fn members_are_found_through_nested_and_anonymous_structs() {
    let mut btf = Writer::default();
    let word = btf.int("unsigned int", 4);
    let alias = btf.add("u32", kind::TYPEDEF, false, 0, word, &[]);
    let anonymous = btf.structure("", 8, &[("skc_daddr", alias, 0), ("skc_rcv_saddr", alias, 32)]);
    let common = btf.structure("sock_common", 12, &[("", anonymous, 0), ("skc_hash", word, 64)]);
    btf.structure("sock", 16, &[("first", word, 0), ("__sk_common", common, 32)]);
    let btf = btf.parse();

    let member = |path| btf.member("sock", path);
    assert_eq!(
        member("__sk_common.skc_rcv_saddr"),
        Ok(Member { bit_offset: 64, size: 4, bit_field: None })
    );
    assert_eq!(
        member("__sk_common.skc_hash"),
        Ok(Member { bit_offset: 96, size: 4, bit_field: None })
    );
    assert_eq!(
        member("__sk_common.skc_net"),
        Err(BtfError::Missing { what: "member", name: "sock.__sk_common.skc_net".to_owned() })
    );
    assert_eq!(
        btf.member("net", "ns"),
        Err(BtfError::Missing { what: "struct", name: "net".to_owned() })
    );
}

#[test]
fn bit_fields_give_their_bit() {
    let mut btf = Writer::default();
    let byte = btf.int("u8", 1);
    let name = btf.string("tcp_usec_ts");
    // With the kind flag, the upper byte of a member's offset holds its width in bits.
    btf.add("tcp_sock", kind::STRUCT, true, 1, 4, &[name, byte, 1 << 24 | 0x13]);
    let member = btf.parse().member("tcp_sock", "tcp_usec_ts");
    assert_eq!(member, Ok(Member { bit_offset: 19, size: 1, bit_field: Some(1) }));
}

#[test]
fn same_name_and_same_answer_is_no_ambiguity() {
    let mut btf = Writer::default();
    let word = btf.int("int", 4);
    let long = btf.int("long", 8);
    btf.structure("twin", 8, &[("same", word, 0), ("moved", word, 32)]);
    btf.structure("twin", 16, &[("same", word, 0), ("moved", long, 64)]);
    let btf = btf.parse();
    assert_eq!(btf.member("twin", "same"), Ok(Member { bit_offset: 0, size: 4, bit_field: None }));
    assert_eq!(
        btf.member("twin", "moved"),
        Err(BtfError::Ambiguous { what: "member", name: "twin.moved".to_owned() })
    );
}

#[test]
fn prototypes_are_described_as_in_c() {
    let mut btf = Writer::default();
    let int = btf.int("int", 4);
    let sock = btf.structure("sock", 4, &[("sk_err", int, 0)]);
    let constant = btf.add("", kind::CONST, false, 0, sock, &[]);
    let pointer = btf.add("", kind::PTR, false, 0, constant, &[]);
    let void = btf.add("", kind::PTR, false, 0, 0, &[]);
    btf.function("tcp_reset", &[pointer, int, void]);
    let btf = btf.parse();
    let parameters = btf.prototype("tcp_reset").expect("found").parameters;
    assert_eq!(parameters, ["struct sock *", "int", "void *"]);
    assert_eq!(
        btf.prototype("tcp"),
        Err(BtfError::Missing { what: "function", name: "tcp".to_owned() })
    );
}

#[test]
fn enumerators_are_found_by_name() {
    let mut btf = Writer::default();
    let name = btf.string("BPF_MAP_TYPE_RINGBUF");
    btf.add("bpf_map_type", kind::ENUM, false, 1, 4, &[name, 27]);
    let btf = btf.parse();
    assert!(btf.has_enumerator("bpf_map_type", "BPF_MAP_TYPE_RINGBUF"));
    assert!(!btf.has_enumerator("bpf_map_type", "BPF_MAP_TYPE_RING"));
    assert!(!btf.has_enumerator("bpf_attach_type", "BPF_MAP_TYPE_RINGBUF"));
}

#[test]
fn every_cut_is_an_error_or_a_smaller_kernel_and_never_a_panic() {
    let mut btf = Writer::default();
    let word = btf.int("int", 4);
    let sock = btf.structure("sock", 4, &[("sk_err", word, 0)]);
    let pointer = btf.add("", kind::PTR, false, 0, sock, &[]);
    btf.function("tcp_done", &[pointer]);
    let whole = btf.bytes();
    for length in 0..whole.len() {
        assert!(Btf::parse(whole[..length].to_vec()).is_err(), "{length} bytes were accepted");
    }
    // Single changed bytes: any result is fine, except a panic.
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut broken = whole.clone();
            broken[at] = value;
            if let Ok(btf) = Btf::parse(broken) {
                let _any = (btf.member("sock", "sk_err"), btf.prototype("tcp_done"));
            }
        }
    }
}

#[test]
fn the_running_kernel_is_understood() {
    let Ok(data) = std::fs::read(VMLINUX) else {
        eprintln!("skipped: no {VMLINUX} here");
        return;
    };
    let btf = Btf::parse(data).expect("the kernel's own BTF");
    assert_eq!(btf.member("sock", "__sk_common.skc_family").expect("member").size, 2);
    assert_eq!(btf.prototype("tcp_done").expect("function").parameters, ["struct sock *"]);
    assert!(btf.has_enumerator("bpf_map_type", "BPF_MAP_TYPE_RINGBUF"));
    crate::plan::plan(&btf, crate::plan::Method::Auto).expect("every fact that is needed");
}

#[test]
fn a_skeleton_has_the_same_ids_and_nothing_else() {
    use crate::subject::Subject;

    let mut btf = Writer::default();
    let word = btf.int("unsigned int", 4);
    btf.structure("sock", 4, &[("first", word, 0)]);
    btf.function("tcp_fin", &[word]);
    let wanted = btf.function("tcp_done", &[word]);
    let traced = btf.add("btf_trace_reset", kind::TYPEDEF, false, 0, word, &[]);
    btf.function("tcp_close", &[]);
    let btf = btf.parse();

    let subjects = [Subject::Function("tcp_done"), Subject::Tracepoint("reset")];
    let skeleton = Btf::parse(btf.skeleton(subjects)).expect("well-formed");
    let ids = |names, name| skeleton.named(names, name).collect::<Vec<_>>();
    assert_eq!(ids(&skeleton.functions, "tcp_done"), [wanted]);
    assert_eq!(ids(&skeleton.typedefs, "btf_trace_reset"), [traced]);
    assert_eq!(ids(&skeleton.functions, "tcp_fin"), [0; 0]);
    assert_eq!(skeleton.types.len(), traced as usize);
    assert!(!skeleton.has_struct("sock"));
}

#[test]
fn structs_that_are_anonymous_in_themselves_are_searched_for_a_while() {
    let mut btf = Writer::default();
    // The struct has id 1, the first type.
    btf.structure("sock", 8, &[("", 1, 0), ("", 1, 0), ("", 1, 0)]);
    let missing = BtfError::Missing { what: "member", name: "sock.sk_err".to_owned() };
    assert_eq!(btf.parse().member("sock", "sk_err"), Err(missing));
}
