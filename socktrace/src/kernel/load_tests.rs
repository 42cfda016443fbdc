//! Tests of the compiled kernel programs against the plan.

use std::collections::{HashMap, HashSet};

use object::{
    File, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, Section,
    SectionIndex, SectionKind, SymbolKind,
};
use socktrace_plan::{
    facts::{Need, WANTED, Wanted},
    hooks::Hook,
};

use super::{LOG_OBJECT, OBJECT, existing};

/// Section and address of a function.
type Place = (SectionIndex, u64);

/// Globals and other functions that each function refers to.
#[derive(Default)]
struct References {
    globals: HashMap<Place, HashSet<String>>,
    calls: HashMap<Place, HashSet<Place>>,
}

impl References {
    fn read(object: &File<'_>) -> Self {
        let mut references = Self::default();
        for section in object.sections().filter(|section| section.kind() == SectionKind::Text) {
            for (address, relocation) in section.relocations() {
                let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
                let symbol = object.symbol_by_index(symbol).expect("a symbol");
                let Some(from) = function_at(object, section.index(), address) else { continue };
                let Some(target) = symbol.section_index() else { continue };
                match symbol.kind() {
                    SymbolKind::Data => {
                        let name = symbol.name().expect("a name").to_owned();
                        references.globals.entry(from).or_default().insert(name);
                    }
                    SymbolKind::Text => {
                        let to = (target, symbol.address());
                        references.calls.entry(from).or_default().insert(to);
                    }
                    // A local function, by its section: the call holds the distance in
                    // instructions.
                    SymbolKind::Section => {
                        let Some(to) = function_at(object, target, called(&section, address))
                        else {
                            continue;
                        };
                        references.calls.entry(from).or_default().insert(to);
                    }
                    _ => {}
                }
            }
        }
        references
    }

    /// Globals that a function and all its callees refer to.
    fn reached(&self, from: Place) -> HashSet<String> {
        let (mut reached, mut seen, mut next) = (HashSet::new(), HashSet::new(), vec![from]);
        while let Some(place) = next.pop() {
            if seen.insert(place) {
                reached.extend(self.globals.get(&place).into_iter().flatten().cloned());
                next.extend(self.calls.get(&place).into_iter().flatten());
            }
        }
        reached
    }
}

/// Function that contains an instruction.
fn function_at(object: &File<'_>, section: SectionIndex, address: u64) -> Option<Place> {
    object
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
        .filter(|symbol| symbol.section_index() == Some(section))
        .find(|symbol| (symbol.address()..symbol.address() + symbol.size()).contains(&address))
        .map(|symbol| (section, symbol.address()))
}

/// Address of a call's target in its section, from the immediate.
fn called(section: &Section<'_, '_>, address: u64) -> u64 {
    let data = section.data().expect("instructions");
    let at = usize::try_from(address).expect("small") + 4;
    let immediate = i32::from_le_bytes(data[at..at + 4].try_into().expect("four bytes"));
    u64::try_from((i64::from(immediate) + 1) * 8).expect("a call into the section")
}

fn program(object: &File<'_>, name: &str) -> Place {
    let symbol = object.symbol_by_name(name).expect(name);
    (symbol.section_index().expect("defined"), symbol.address())
}

/// A program, the function that it attaches to, and the globals that it reads.
struct Reader {
    name: &'static str,
    function: &'static str,
    globals: HashSet<String>,
}

impl Reader {
    /// Whether a fact's need names this program.
    fn is_at(&self, site: &str) -> bool {
        site == self.function || site == self.name
    }
}

/// Every program of the hook table, and the iterator.
fn readers() -> Vec<Reader> {
    let object = File::parse(OBJECT).expect("an ELF file");
    let references = References::read(&object);
    let mut readers = Vec::new();
    for variant in Hook::ALL.iter().flat_map(|hook| hook.all_variants()) {
        for attached in variant.programs {
            readers.push(Reader {
                name: attached.name,
                function: variant.function_of(attached),
                globals: references.reached(program(&object, attached.name)),
            });
        }
    }
    readers.push(Reader {
        name: existing::ITERATOR,
        function: existing::ITERATOR,
        globals: references.reached(program(&object, existing::ITERATOR)),
    });
    readers
}

#[test]
fn the_objects_have_nothing_for_debuggers() {
    for data in [OBJECT, LOG_OBJECT] {
        has_nothing_for_debuggers(&File::parse(data).expect("an object"));
    }
}

#[test]
fn messages_are_in_one_of_the_objects() {
    let has_log = |data| {
        let object = File::parse(data).expect("an object");
        object.symbol_by_name("AYA_LOGS").is_some()
    };
    assert!(has_log(LOG_OBJECT));
    assert!(!has_log(OBJECT));
}

fn has_nothing_for_debuggers(object: &File<'_>) {
    let names: Vec<_> = object.sections().map(|section| section.name().expect("a name")).collect();
    assert!(names.contains(&".BTF") && names.contains(&".BTF.ext"), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("debug")), "{names:?}");

    let extension = object.section_by_name(".BTF.ext").expect("it").data().expect("bytes");
    let field =
        |at: usize| u32::from_le_bytes(extension[at..at + 4].try_into().expect("four bytes"));
    // `func_info_len` and `line_info_len` of `struct btf_ext_header`.
    assert_ne!(field(12), 0, "the verifier needs the prototypes of global functions");
    assert_eq!(field(20), 0, "the kernel would check each line, and move it with the code");
}

#[test]
fn no_program_reads_a_fact_that_it_could_be_loaded_without() {
    for reader in readers() {
        for wanted in WANTED.iter().filter(|wanted| reader.globals.contains(wanted.global)) {
            if let Need::At(sites) = wanted.need {
                assert!(
                    sites.iter().any(|site| reader.is_at(site)),
                    "{} at {} reads {}: add it to the list in socktrace-ebpf/src/facts.rs",
                    reader.name,
                    reader.function,
                    wanted.global
                );
            }
        }
    }
}

#[test]
fn no_fact_is_asked_for_in_vain() {
    let readers = readers();
    for Wanted { global, need, .. } in WANTED {
        let mut reading = readers.iter().filter(|reader| reader.globals.contains(*global));
        match need {
            Need::Always | Need::Optional(_) | Need::Feature(_) => {
                assert!(reading.next().is_some(), "no program reads {global}");
            }
            Need::At(sites) => {
                let reading: Vec<_> = reading.collect();
                for site in *sites {
                    assert!(
                        reading.iter().any(|reader| reader.is_at(site)),
                        "no program at {site} reads {global}"
                    );
                }
            }
        }
    }
}
