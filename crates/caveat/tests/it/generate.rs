//! Which expressions and contexts are tried? All from one seed, well typed, full of errors in evaluation.

/// A small generator of numbers; the same seed gives the same numbers everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 20) % bound as u64) as usize
    }

    pub(crate) fn one_of<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(choices.len())]
    }
}

/// The types that expressions are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    Ints,
    Strings,
    IntMap,
}

/// Parameters: name, declared type, values as JSON and as CEL.
pub(crate) type Declared = (&'static str, &'static str, Type, &'static [(&'static str, &'static str)]);

pub(crate) const PARAMETERS: &[Declared] = &[
    ("b1", "bool", Type::Bool, &[("true", "true"), ("false", "false")]),
    ("b2", "bool", Type::Bool, &[("true", "true"), ("false", "false")]),
    (
        "i1",
        "int",
        Type::Int,
        &[("0", "0"), ("1", "1"), ("-3", "-3"), ("\"9223372036854775807\"", "9223372036854775807")],
    ),
    (
        "i2",
        "int",
        Type::Int,
        &[("2", "2"), ("1", "1"), ("7", "7"), ("\"-9223372036854775808\"", "-9223372036854775808")],
    ),
    (
        "u1",
        "uint",
        Type::Uint,
        &[("0", "0u"), ("1", "1u"), ("\"18446744073709551615\"", "18446744073709551615u")],
    ),
    ("d1", "double", Type::Double, &[("0", "0.0"), ("1.5", "1.5"), ("-2", "-2.0"), ("1e300", "1e300")]),
    (
        "s1",
        "string",
        Type::String,
        &[("\"\"", "''"), ("\"abc\"", "'abc'"), ("\"é1\"", "'é1'"), ("\"12\"", "'12'")],
    ),
    ("s2", "string", Type::String, &[("\"b\"", "'b'"), ("\"abc\"", "'abc'"), ("\"^a\"", "'^a'")]),
    ("y1", "bytes", Type::Bytes, &[("\"\"", "b''"), ("\"YWJj\"", "b'abc'")]),
    (
        "t1",
        "timestamp",
        Type::Timestamp,
        &[
            ("\"2020-02-29T12:30:45.5Z\"", "timestamp('2020-02-29T12:30:45.5Z')"),
            ("\"1969-12-31T23:59:59Z\"", "timestamp('1969-12-31T23:59:59Z')"),
        ],
    ),
    ("q1", "duration", Type::Duration, &[("\"1h30m\"", "duration('1h30m')"), ("\"-1s\"", "duration('-1s')")]),
    (
        "l1",
        "list<int>",
        Type::Ints,
        &[("[]", "[]"), ("[1]", "[1]"), ("[0, 1, 2]", "[0, 1, 2]"), ("[5, 5]", "[5, 5]")],
    ),
    ("k1", "list<string>", Type::Strings, &[("[]", "[]"), ("[\"abc\", \"b\"]", "['abc', 'b']")]),
    (
        "m1",
        "map<int>",
        Type::IntMap,
        &[("{}", "{}"), ("{\"a\": 1}", "{'a': 1}"), ("{\"a\": 2, \"b\": 0}", "{'a': 2, 'b': 0}")],
    ),
];

/// The declaration of all parameters.
pub(crate) fn declaration() -> String {
    PARAMETERS.iter().map(|p| format!("{} {}", p.0, p.1)).collect::<Vec<_>>().join(", ")
}

/// Which value of each parameter is chosen.
pub(crate) fn assignment(random: &mut Random) -> Vec<usize> {
    PARAMETERS.iter().map(|p| random.below(p.3.len())).collect()
}

/// The chosen values of the parameters that are kept, as a JSON context.
pub(crate) fn as_json(assignment: &[usize], keep: impl Fn(usize) -> bool) -> String {
    let kept = PARAMETERS.iter().enumerate().filter(|(i, _)| keep(*i));
    let fields: Vec<String> = kept.map(|(i, p)| format!("\"{}\": {}", p.0, p.3[assignment[i]].0)).collect();
    format!("{{{}}}", fields.join(", "))
}

/// A generator of expressions; `wide` takes also what only our own language has.
pub(crate) struct Expressions<'r> {
    pub(crate) random: &'r mut Random,
    pub(crate) wide: bool,
    /// Variables of macros around, all ints.
    pub(crate) variables: Vec<String>,
}

impl Expressions<'_> {
    /// An expression of a type, nested so deep.
    pub(crate) fn of(&mut self, of: Type, depth: usize) -> String {
        if depth == 0 || self.random.below(8) == 0 {
            return self.leaf(of);
        }
        let depth = depth - 1;
        match of {
            Type::Bool => self.bool(depth),
            Type::Int => self.int(depth),
            Type::Uint => {
                let operator = self.random.one_of(&["+", "-", "*", "/", "%"]);
                match self.random.below(3) {
                    0 => format!("uint({})", self.of(Type::Int, depth)),
                    1 => format!(
                        "({} ? {} : {})",
                        self.of(Type::Bool, depth),
                        self.of(of, depth),
                        self.of(of, depth)
                    ),
                    _ => format!("({} {operator} {})", self.of(of, depth), self.of(of, depth)),
                }
            }
            Type::Double => {
                let operator = self.random.one_of(&["+", "-", "*", "/"]);
                match self.random.below(3) {
                    0 => format!("double({})", self.of(Type::Int, depth)),
                    1 => format!("-({})", self.of(of, depth)),
                    _ => format!("({} {operator} {})", self.of(of, depth), self.of(of, depth)),
                }
            }
            Type::String => match self.random.below(5) {
                0 => format!("string({})", self.of(Type::Int, depth)),
                1 => format!("string({})", self.of(Type::Bool, depth)),
                2 => format!("{}[{}]", self.of(Type::Strings, depth), self.of(Type::Int, depth)),
                3 => format!(
                    "({} ? {} : {})",
                    self.of(Type::Bool, depth),
                    self.of(of, depth),
                    self.of(of, depth)
                ),
                _ => format!("({} + {})", self.of(of, depth), self.of(of, depth)),
            },
            Type::Bytes => match self.random.below(2) {
                0 => format!("bytes({})", self.of(Type::String, depth)),
                _ => format!("({} + {})", self.of(of, depth), self.of(of, depth)),
            },
            Type::Duration => match self.random.below(3) {
                0 => format!("({} - {})", self.of(Type::Timestamp, depth), self.of(Type::Timestamp, depth)),
                1 => format!("({} + {})", self.of(of, depth), self.of(of, depth)),
                _ => format!("({} - {})", self.of(of, depth), self.of(of, depth)),
            },
            Type::Timestamp => match self.random.below(2) {
                0 => format!("({} + {})", self.of(of, depth), self.of(Type::Duration, depth)),
                _ => format!("({} - {})", self.of(of, depth), self.of(Type::Duration, depth)),
            },
            Type::Ints => match self.random.below(6) {
                0 => format!("({} + {})", self.of(of, depth), self.of(of, depth)),
                1 => format!("[{}, {}]", self.of(Type::Int, depth), self.of(Type::Int, depth)),
                2 => self.fold(Type::Ints, "filter", Type::Bool, depth),
                3 => self.fold(Type::Strings, "map", Type::Int, depth),
                4 => self.fold(Type::Ints, "map", Type::Int, depth),
                _ => format!(
                    "({} ? {} : {})",
                    self.of(Type::Bool, depth),
                    self.of(of, depth),
                    self.of(of, depth)
                ),
            },
            Type::Strings => match self.random.below(3) {
                0 => format!("[{}]", self.of(Type::String, depth)),
                1 => format!("({} + {})", self.of(of, depth), self.of(of, depth)),
                _ => self.fold(Type::Ints, "map", Type::String, depth),
            },
            Type::IntMap => {
                let (a, b) = (self.of(Type::Int, depth), self.of(Type::Int, depth));
                format!("{{'a': {a}, 'c': {b}}}")
            }
        }
    }

    fn leaf(&mut self, of: Type) -> String {
        if of == Type::Int && !self.variables.is_empty() && self.random.below(2) == 0 {
            let at = self.random.below(self.variables.len());
            return self.variables[at].clone();
        }
        let named: Vec<&Declared> = PARAMETERS.iter().filter(|p| p.2 == of).collect();
        let parameter = named[self.random.below(named.len())];
        if self.random.below(3) > 0 {
            return parameter.0.to_owned();
        }
        parameter.3[self.random.below(parameter.3.len())].1.to_owned()
    }

    fn bool(&mut self, depth: usize) -> String {
        let compared = [
            Type::Int,
            Type::Uint,
            Type::Double,
            Type::String,
            Type::Bytes,
            Type::Duration,
            Type::Timestamp,
            Type::Int,
            Type::Bool,
        ];
        match self.random.below(if self.wide { 20 } else { 16 }) {
            0..=2 => format!("({} && {})", self.of(Type::Bool, depth), self.of(Type::Bool, depth)),
            3..=5 => format!("({} || {})", self.of(Type::Bool, depth), self.of(Type::Bool, depth)),
            6 => format!("!({})", self.of(Type::Bool, depth)),
            7 => {
                let (a, b) = (self.of(Type::Bool, depth), self.of(Type::Bool, depth));
                format!("({} ? {a} : {b})", self.of(Type::Bool, depth))
            }
            8 | 9 => {
                let of = compared[self.random.below(compared.len())];
                let operator = self.random.one_of(&["==", "!=", "<", "<=", ">", ">="]);
                format!("({} {operator} {})", self.of(of, depth), self.of(of, depth))
            }
            10 => {
                let of = [Type::Ints, Type::Strings, Type::IntMap][self.random.below(3)];
                let operator = self.random.one_of(&["==", "!="]);
                format!("({} {operator} {})", self.of(of, depth), self.of(of, depth))
            }
            11 => format!("({} in {})", self.of(Type::Int, depth), self.of(Type::Ints, depth)),
            12 => format!("({} in {})", self.of(Type::String, depth), self.of(Type::IntMap, depth)),
            13 => {
                let function = self.random.one_of(&["contains", "startsWith", "endsWith"]);
                format!("{}.{function}({})", self.of(Type::String, depth), self.of(Type::String, depth))
            }
            14 | 15 => {
                let name = self.random.one_of(&["all", "exists", "exists_one"]);
                self.fold(Type::Ints, name, Type::Bool, depth)
            }
            16 => format!("has({}.a)", self.of(Type::IntMap, depth)),
            17 => format!("{}.?b.hasValue()", self.of(Type::IntMap, depth)),
            18 => format!("{}.isSubtreeOf({})", self.of(Type::IntMap, depth), self.of(Type::IntMap, depth)),
            _ => format!("{}.matches({})", self.of(Type::String, depth), self.of(Type::String, depth)),
        }
    }

    fn int(&mut self, depth: usize) -> String {
        match self.random.below(if self.wide { 12 } else { 10 }) {
            0..=2 => {
                let operator = self.random.one_of(&["+", "-", "*", "/", "%"]);
                format!("({} {operator} {})", self.of(Type::Int, depth), self.of(Type::Int, depth))
            }
            3 => format!("-({})", self.of(Type::Int, depth)),
            4 => {
                let of = [Type::String, Type::Bytes, Type::Ints, Type::IntMap][self.random.below(4)];
                format!("size({})", self.of(of, depth))
            }
            5 => format!("{}[{}]", self.of(Type::Ints, depth), self.of(Type::Int, depth)),
            6 => format!("{}.{}", self.of(Type::IntMap, depth), self.random.one_of(&["a", "b"])),
            7 => {
                let part = self.random.one_of(&[
                    "getFullYear",
                    "getMonth",
                    "getDate",
                    "getDayOfMonth",
                    "getDayOfWeek",
                    "getDayOfYear",
                    "getHours",
                    "getMinutes",
                    "getSeconds",
                    "getMilliseconds",
                ]);
                format!("{}.{part}()", self.of(Type::Timestamp, depth))
            }
            8 => format!(
                "({} ? {} : {})",
                self.of(Type::Bool, depth),
                self.of(Type::Int, depth),
                self.of(Type::Int, depth)
            ),
            9 => {
                let of = [Type::Uint, Type::Double, Type::String][self.random.below(3)];
                format!("int({})", self.of(of, depth))
            }
            10 => format!(
                "{}[?{}].orValue({})",
                self.of(Type::Ints, depth),
                self.of(Type::Int, depth),
                self.of(Type::Int, depth)
            ),
            _ => format!("int({})", self.of(Type::Duration, depth)),
        }
    }

    fn fold(&mut self, range: Type, name: &str, body: Type, depth: usize) -> String {
        let range_text = self.of(range, depth);
        let variable = format!("x{}", self.variables.len());
        // A variable of another type than int is there, but not used.
        if range == Type::Ints {
            self.variables.push(variable.clone());
        }
        let body = self.of(body, depth);
        if range == Type::Ints {
            self.variables.pop();
        }
        let variable = if range == Type::Ints { variable } else { "w".to_owned() };
        format!("{range_text}.{name}({variable}, {body})")
    }
}
