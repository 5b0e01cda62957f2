package store

// SetHook has fn called before each step of every commit.
func (s *Store) SetHook(fn func(step string)) { s.hook = fn }

// CommitSteps returns the names of the steps in their order.
func CommitSteps() []string {
	c := &commit{}
	var names []string
	for _, s := range append(c.prepareSteps(), c.publishSteps()...) {
		names = append(names, s.name)
	}
	return names
}

// Escape and Unescape are what manifests do to names.
var (
	Escape   = escape
	Unescape = unescape
)

// ParseMarks reads marks from a file's bytes.
var ParseMarks = parseMarks

// Seal encodes m with a digest that fits, sound or not.
func Seal(m Manifest) (_ []byte, err error) {
	if m.Digest, err = m.digest(); err != nil {
		return nil, err
	}
	return m.Encode()
}

// SetMaxLogBytes bounds the logs of the stores in a test.
func SetMaxLogBytes(t interface{ Cleanup(func()) }, n int64) {
	before := maxLogBytes
	maxLogBytes = n
	t.Cleanup(func() { maxLogBytes = before })
}
