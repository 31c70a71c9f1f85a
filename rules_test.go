package edgegateway_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	breakRules = flag.Bool("rules", false, "take every rule of testdata/rules.txt out and see its test fail")
	onlyRules  = flag.String("only", "", "with -rules: the rules whose title matches this regular expression")
	update     = flag.Bool("update", false, "write the tables of rules in docs anew")
)

const rulesFile = "testdata/rules.txt"

// A rule is a sentence, and what shows that it is kept.
type rule struct {
	page, group, title, why string
	proofs                  []proof
}

// proof is a way to take a rule out of the code, and the test that fails then.
type proof struct {
	line     int    // of rules.txt
	pkg      string // folder of the test
	test     string // of package testing; may name a subtest
	file     string
	old, new string
}

// readRules reads the list. A text that stands in the code is given by its lines
// with a minus in front, what takes its place by lines with a plus.
func readRules(t *testing.T) (rules []rule) {
	t.Helper()
	b, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	page, group := "", ""
	for i, line := range strings.Split(string(b), "\n") {
		wrong := func() { t.Helper(); t.Fatalf("%s:%d: can not be read: %q", rulesFile, i+1, line) }
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		value = strings.TrimSpace(value)
		if key == "page" {
			page = value
			continue
		}
		if key == "group" {
			group = value
			continue
		}
		if key == "rule" {
			rules = append(rules, rule{page: page, group: group, title: value})
			continue
		}
		if len(rules) == 0 {
			wrong()
		}
		r := &rules[len(rules)-1]
		if key == "why" {
			r.why = value
			continue
		}
		if key == "test" {
			pkg, test, ok := strings.Cut(value, " ")
			if !ok {
				wrong()
			}
			r.proofs = append(r.proofs, proof{line: i + 1, pkg: pkg, test: test})
			continue
		}
		if len(r.proofs) == 0 {
			wrong()
		}
		p := &r.proofs[len(r.proofs)-1]
		switch {
		case key == "in":
			p.file = value
		case line[0] == '-':
			p.old += line[1:] + "\n"
		case line[0] == '+':
			p.new += line[1:] + "\n"
		default:
			wrong()
		}
	}
	return rules
}

// find returns where the text of a proof stands in its file, and the function that
// it is in. The text stands there once.
func (p *proof) find(t *testing.T) (source string, at int, function string) {
	t.Helper()
	b, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatalf("%s:%d: %v", rulesFile, p.line, err)
	}
	source = string(b)
	if n := strings.Count(source, p.old); n != 1 || p.old == "" {
		t.Fatalf("%s:%d: %s holds this text %d times, want once (the code has changed: see that the rule still holds, then the list):\n%s",
			rulesFile, p.line, p.file, n, p.old)
	}
	at = strings.Index(source, p.old)
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, p.file, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || files.Position(fn.End()).Offset <= at {
			continue
		}
		return source, at, receiver(fn) + fn.Name.Name
	}
	t.Fatalf("%s:%d: the text is in no function", rulesFile, p.line)
	return "", 0, ""
}

func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	return typ.(*ast.Ident).Name + "."
}

// overlay writes a copy of each file without the rules of some proofs, which do not
// meet in one text, and returns the file that go's -overlay wants. Nothing of the
// tree is touched.
func overlay(t *testing.T, proofs []proof) string {
	t.Helper()
	dir := t.TempDir()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	sources := make(map[string]string)
	for _, p := range proofs {
		if sources[p.file] == "" {
			sources[p.file], _, _ = p.find(t)
		}
		sources[p.file] = strings.Replace(sources[p.file], p.old, p.new, 1)
	}
	replace := make(map[string]string)
	for name, source := range sources {
		to := filepath.Join(dir, fmt.Sprint(len(replace))+".go")
		if err := os.WriteFile(to, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, name)] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestTheListOfRulesIsTrue: every text is still in the code and every test is there,
// the code compiles without the rules, and the page says the same. What the tests
// say without the rules takes minutes: scripts/rules.sh.
func TestTheListOfRulesIsTrue(t *testing.T) {
	rules := readRules(t)
	tests := make(map[string]bool)
	var rounds [][]proof // whose texts do not meet
	for _, r := range rules {
		if r.title == "" || r.why == "" || len(r.proofs) == 0 {
			t.Errorf("rule %q lacks its reason or its test", r.title)
		}
		for _, p := range r.proofs {
			_, at, _ := p.find(t)
			i := slices.IndexFunc(rounds, func(round []proof) bool {
				return !slices.ContainsFunc(round, func(q proof) bool {
					_, from, _ := q.find(t)
					return q.file == p.file && from < at+len(p.old) && at < from+len(q.old)
				})
			})
			if i < 0 {
				i, rounds = len(rounds), append(rounds, nil)
			}
			rounds[i] = append(rounds[i], p)
			name, _, _ := strings.Cut(p.test, "/")
			if key := p.pkg + " " + name; !tests[key] {
				tests[key] = hasTest(t, p.pkg, name)
				if !tests[key] {
					t.Errorf("%s:%d: package %s has no test %s", rulesFile, p.line, p.pkg, name)
				}
			}
		}
	}
	pages := make(map[string][]rule)
	for _, r := range rules {
		pages[r.page] = append(pages[r.page], r)
	}
	for page, rules := range pages {
		checkPage(t, page, rules)
	}
	if testing.Short() {
		return
	}
	for _, round := range rounds {
		packages := make(map[string]bool)
		args := []string{"build", "-overlay", overlay(t, round)}
		for _, p := range round {
			if dir := "./" + filepath.Dir(p.file); !packages[dir] {
				packages[dir] = true
				args = append(args, dir)
			}
		}
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Errorf("the code does not compile without its rules: %v\n%s", err, out)
		}
	}
}

func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "\nfunc "+name+"(t *testing.T) {") {
			return true
		}
	}
	return false
}

// checkPage holds the table of a page against the list.
func checkPage(t *testing.T, rulesPage string, rules []rule) {
	t.Helper()
	const begin, end = "<!-- rules: made by go test . -run TestTheListOfRulesIsTrue -update -->\n", "<!-- end of the rules -->\n"
	b, err := os.ReadFile(rulesPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the line %s or %s", rulesPage, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	var table strings.Builder
	group := ""
	for i, r := range rules {
		if r.group != group {
			group = r.group
			fmt.Fprintf(&table, "\n### %s\n\n| | rule | without it | where | test |\n|--:|---|---|---|---|\n", group)
		}
		var where, tests []string
		for _, p := range r.proofs {
			_, _, function := p.find(t)
			where = addNew(where, "`"+p.file+"` "+function)
			tests = addNew(tests, p.pkg+" "+p.test)
		}
		fmt.Fprintf(&table, "| %d | %s | %s | %s | %s |\n", i+1, r.title, r.why, strings.Join(where, "<br>"), strings.Join(tests, "<br>"))
	}
	table.WriteString("\n")
	want := before + begin + table.String() + end + after
	if want == string(b) {
		return
	}
	if !*update {
		t.Errorf("%s is not up to date: go test . -run TestTheListOfRulesIsTrue -update", rulesPage)
		return
	}
	if err := os.WriteFile(rulesPage, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func addNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// TestEachRuleIsHeldByItsTest takes one rule after the other out of a copy of the
// code and runs its test, which has to fail; with all rules in place it passes.
func TestEachRuleIsHeldByItsTest(t *testing.T) {
	if !*breakRules {
		t.Skip("takes minutes: scripts/rules.sh")
	}
	wanted, err := regexp.Compile(*onlyRules)
	if err != nil {
		t.Fatal(err)
	}
	rules := readRules(t)
	all := make(map[string][]string)
	for _, r := range rules {
		for _, p := range r.proofs {
			if name, _, _ := strings.Cut(p.test, "/"); wanted.MatchString(r.title) {
				all[p.pkg] = addNew(all[p.pkg], name)
			}
		}
	}
	for pkg, names := range all {
		begun := time.Now()
		out, err := goTest(pkg, "^("+strings.Join(names, "|")+")$")
		if err != nil || strings.Contains(out, "no tests to run") {
			t.Fatalf("%s: the tests do not pass while all rules are in place: %v\n%s", pkg, err, out)
		}
		fmt.Printf("%-14s %d tests pass with all rules in place, %.1f s\n", pkg, len(names), time.Since(begun).Seconds())
	}
	fmt.Printf("\n%-3s %-6s %6s  %-74s %s\n", "", "fails", "", "test", "without the rule")
	begun, held, count := time.Now(), 0, 0
	for i, r := range rules {
		if !wanted.MatchString(r.title) {
			continue
		}
		for _, p := range r.proofs {
			count++
			start := time.Now()
			verdict := "NO"
			var parts []string
			for part := range strings.SplitSeq(p.test, "/") {
				parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
			}
			out, err := goTest(p.pkg, strings.Join(parts, "/"), "-overlay", overlay(t, []proof{p}))
			name, _, _ := strings.Cut(p.test, "/")
			switch {
			case err == nil:
				t.Errorf("%s:%d: %s %s passes without the rule %q", rulesFile, p.line, p.pkg, p.test, r.title)
			case strings.Contains(out, "--- FAIL: "+name), strings.Contains(out, "panic: "):
				verdict = "yes"
				held++
			default:
				t.Errorf("%s:%d: %s %s did not run: %v\n%s", rulesFile, p.line, p.pkg, p.test, err, out)
			}
			fmt.Printf("%-3d %-6s %4.1f s  %-74s %s\n", i+1, verdict, time.Since(start).Seconds(), p.pkg+" "+p.test, r.title)
		}
	}
	fmt.Printf("\n%d of %d tests fail without their rule, %.0f s\n", held, count, time.Since(begun).Seconds())
}

// goTest runs tests of a package. One that hangs without its rule fails, too.
func goTest(pkg, run string, more ...string) (out string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	args := append([]string{"test", "-count=1", "-vet=off", "-timeout=40s", "-run", run}, more...)
	b, err := exec.CommandContext(ctx, "go", append(args, "./"+pkg)...).CombinedOutput()
	return string(b), err
}
