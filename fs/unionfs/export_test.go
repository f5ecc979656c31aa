package unionfs

// Decoders of records, for their fuzz tests: each returns the encoding of what
// it has read.
var (
	RecodeOrigin = func(b []byte) ([]byte, error) {
		o, err := decodeOrigin(b)
		return o.encode(), err
	}
	RecodeLinkCount = func(b []byte) ([]byte, error) {
		c, err := decodeLinkCount(b)
		return c.encode(), err
	}
)
