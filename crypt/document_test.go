package crypt_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestDocument decrypts the data key of the example in the document of the format.
func TestDocument(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "checkpoint-format.md"))
	must(t, err)
	found := regexp.MustCompile(`"key": "([0-9a-f]+)",\s*"dataKey": "([0-9a-f]+)"`).FindSubmatch(doc)
	if found == nil {
		t.Fatal("the document has no example of an encrypted checkpoint")
	}
	node, want := make([]byte, 32), make([]byte, 32)
	for i := range node {
		node[i], want[i] = byte(32+i), byte(64+i)
	}
	keys := parse(t, hex.EncodeToString(node))
	got, err := keys.Unwrap(string(found[1]), string(found[2]), id)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the data key of the example is %x, %v", got, err)
	}
}
