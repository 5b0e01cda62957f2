package conf

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pelletier/go-toml/v2"
)

// maxFile is far above any real config file; a larger one is a mistake.
const maxFile = 1 << 20

// Load reads and checks the file at path. All mistakes found are joined into
// one error; each is an [*Error].
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("open config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Config{}, fmt.Errorf("read config: %w", err)
	}
	if len(data) > maxFile {
		return Config{}, &Error{Path: path, Reason: "the file is larger than 1 MiB", Hint: "is it a rekindle.toml?"}
	}
	return parse(path, data)
}

// Parse checks the text of a config file as [Load] does.
func Parse(data []byte) (Config, error) { return parse("", data) }

func parse(path string, data []byte) (Config, error) {
	if err := checkSyntax(path, data); err != nil {
		return Config{}, err
	}
	keys := indexKeys(data)
	if errs := checkKeys(path, keys); len(errs) > 0 {
		return Config{}, errors.Join(errs...)
	}
	cfg := Default()
	if err := toml.Unmarshal(data, &cfg); err != nil {
		return Config{}, decodeError(path, keys, err)
	}
	if errs := validate(path, keys, cfg); len(errs) > 0 {
		return Config{}, errors.Join(errs...)
	}
	return cfg, nil
}

// checkSyntax decodes into a map, which any well-formed file fits.
func checkSyntax(path string, data []byte) error {
	var content map[string]any
	err := toml.Unmarshal(data, &content)
	if err == nil {
		return nil
	}
	e := &Error{Path: path, Reason: trimPrefix(err), Hint: "correct the TOML syntax"}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		e.Line, _ = de.Position()
	}
	for _, k := range indexKeys(data) {
		if k.line == e.Line {
			e.Key = k.name
		}
	}
	return e
}

// decodeError reports a value that its type refused.
func decodeError(path string, keys []keyAt, err error) error {
	e := &Error{Path: path, Reason: trimPrefix(err)}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		e.Line, _ = de.Position()
		e.Key = joinKey(de.Key())
	}
	if at, ok := find(keys, e.Key); ok {
		e.Line = at.line
	}
	return e
}
