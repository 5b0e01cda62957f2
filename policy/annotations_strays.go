package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems is how many problems of one pod are told. Who has more has seen
// enough to start.
const maxProblems = 32

// strays reports annotations of our domain that mean nothing: a typo would else
// go unnoticed. Overrides for other containers are those containers' business.
func (r *resolver) strays() {
	for key, value := range r.pod {
		prefix, name, ok := strings.Cut(key, "/")
		if !ok || prefix != Domain && prefix != r.container+"."+Domain {
			continue
		}
		s := source{key: key, value: value}
		switch {
		case !slices.Contains(keyNames, name):
			r.problem(s, value, "is not a known key"+suggest(name), ignored)
		case podOnly(name) && prefix != Domain:
			r.problem(s, value, "cannot be set for one container", ignored)
		case r.together(name) && prefix != Domain:
			r.problem(s, value, "cannot be set for one container while "+Domain+"/"+KeyConsistency+" is pod", ignored)
		}
	}
}

// suggest names the known key that name was most likely meant to be.
func suggest(name string) string {
	if len(name) > 32 {
		return ""
	}
	best, least := "", 3 // more than two slips is another word
	for _, k := range keyNames {
		if d := distance(strings.ToLower(name), k); d < least && d < len(k) {
			best, least = k, d
		}
	}
	if best == "" {
		return "; known are " + strings.Join(keyNames, ", ")
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is the Levenshtein distance in runes.
func distance(a, b string) int {
	target := []rune(b)
	row := make([]int, len(target)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range []rune(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range target {
			above := row[j+1]
			change := diagonal
			if x != y {
				change++
			}
			row[j+1] = min(change, above+1, row[j]+1)
			diagonal = above
		}
	}
	return row[len(target)]
}

// sorted returns the problems in an order that does not depend on that of the
// map they come from, and not too many of them.
func (r *resolver) sorted() []Problem {
	slices.SortFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value), cmp.Compare(a.Reason, b.Reason))
	})
	r.problems = slices.Compact(r.problems)
	if more := len(r.problems) - maxProblems; more > 0 {
		r.problems = append(r.problems[:maxProblems], Problem{
			Key: Domain, Value: quote(""), Reason: fmt.Sprintf("%d more problems are not shown", more), Used: ignored,
		})
	}
	return r.problems
}
