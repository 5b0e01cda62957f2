package policy

import (
	"fmt"
	"strconv"
	"strings"
)

// maxShown is how many bytes of a tenant's text are shown.
const maxShown = 64

// Quote makes a tenant's text safe to show, for other packages.
func Quote(text string) string { return quote(text) }

// quote makes a tenant's text safe for logs and terminals: short, and ASCII
// only, so that neither control characters nor look-alike letters pass unseen.
func quote(text string) string {
	if len(text) <= maxShown {
		return strconv.QuoteToASCII(text)
	}
	return fmt.Sprintf("%s... (%d bytes)", strconv.QuoteToASCII(strings.ToValidUTF8(text[:maxShown], "")), len(text))
}

// plain leaves an ordinary name as it is and quotes any other.
func plain(name string) string {
	const maxName = 128 // longer than any real key in our domain
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' || name[i] == '"' || i >= maxName {
			return quote(name)
		}
	}
	return name
}
