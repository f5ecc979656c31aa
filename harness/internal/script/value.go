package script

// A Value is one argument of a call, or a part of one.
type Value interface {
	value()
	append(b []byte) []byte
}

// Int is a number. Val holds its two's complement; Neg says that it was
// written with a minus sign.
type Int struct {
	Val  uint64
	Base int // 8, 10 or 16: how it was written
	Neg  bool
}

// Const is a named constant such as O_RDWR.
type Const struct{ Name string }

// Or joins flags: O_RDWR|O_CREAT|0x10. It has at least two parts.
type Or struct{ Parts []Value }

// String is a C string. Cut marks one that strace shortened: "abc"... .
type String struct {
	Text string // unescaped
	Cut  bool
	Lit  []int // offsets of dollar signs written as an escape: they start no variable
}

// Null is NULL.
type Null struct{}

// Rest is "...": anything may stand here.
type Rest struct{}

// Struct is {a=b, c=d}; More is set when it ends in "...".
type Struct struct {
	Fields []Field
	More   bool
}

// Field is one member of a Struct. Name is empty for a positional one.
type Field struct {
	Name  string
	Value Value
}

// Array is [a, b]; More is set when it ends in "...".
type Array struct {
	Elems []Value
	More  bool
}

// Func is a macro with arguments, such as makedev(0x8, 0x1).
type Func struct {
	Name string
	Args []Value
}

// Named is an argument with its name, as clone(2) is traced: flags=SIGCHLD.
type Named struct {
	Name  string
	Value Value
}

// Becomes is an argument that the call changed: {a=1} => {b=2}.
type Becomes struct{ Before, After Value }

func (Int) value()     {}
func (Const) value()   {}
func (Or) value()      {}
func (String) value()  {}
func (Null) value()    {}
func (Rest) value()    {}
func (Struct) value()  {}
func (Array) value()   {}
func (Func) value()    {}
func (Named) value()   {}
func (Becomes) value() {}

// Get returns the member called name, nil if there is none.
func (s Struct) Get(name string) Value {
	for _, f := range s.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// Decimal returns n as a decimal Int.
func Decimal(n int64) Int { return Int{Val: uint64(n), Base: 10, Neg: n < 0} }

// Octal returns n as an octal Int.
func Octal(n uint64) Int { return Int{Val: n, Base: 8} }

// Hex returns n as a hexadecimal Int.
func Hex(n uint64) Int { return Int{Val: n, Base: 16} }

// Text returns s as a String that holds no variable.
func Text(s string) String {
	v := String{Text: s}
	for i := range len(s) {
		if s[i] == '$' {
			v.Lit = append(v.Lit, i)
		}
	}
	return v
}
