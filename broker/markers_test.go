package broker_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// marker is one mention of a statement in a test.
type marker struct {
	v3     bool
	number string
	test   string // as it is shown; "": the mention is in a helper, and shows nothing
	file   string
	line   int
	at     string // file:line
}

var (
	markerLike = regexp.MustCompile(`\[(v3 )?MQTT-[^\]\n]*\]`)
	markerForm = regexp.MustCompile(`^\[(v3 )?MQTT-([0-9]+\.[0-9]+\.[0-9]+-[0-9]+)\]$`)
)

// findMarkers reads all tests of the module below root.
func findMarkers(t *testing.T, root string) (list []marker) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root:
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".go") && filepath.Base(filepath.Dir(path)) == "brokertest":
			list = append(list, markersOf(t, root, path)...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(list, compareMarkers)
	return list
}

// testSource is one file that is looked through.
type testSource struct {
	fset *token.FileSet
	file *ast.File
	room string // the folder, from the root of the module
}

func markersOf(t *testing.T, root, path string) (list []marker) {
	t.Helper()
	src := testSource{fset: token.NewFileSet()}
	var err error
	if src.file, err = parser.ParseFile(src.fset, path, nil, parser.ParseComments); err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		t.Fatal(err)
	}
	src.room = filepath.ToSlash(filepath.Dir(rel))
	note := func(from, to token.Pos, text string) {
		for _, m := range markerLike.FindAllStringIndex(text, -1) {
			found := text[m[0]:m[1]]
			line := src.line(from) + strings.Count(text[:m[0]], "\n")
			at := fmt.Sprintf("%s:%d", filepath.ToSlash(rel), line)
			form := markerForm.FindStringSubmatch(found)
			if form == nil {
				t.Errorf("%s: %s is no marker; one has a single number, as 3.3.1-5, behind MQTT- or v3 MQTT-", at, found)
				continue
			}
			list = append(list, marker{form[1] != "", form[2], src.testAt(from, to), filepath.ToSlash(rel), line, at})
		}
	}
	for _, group := range src.file.Comments {
		for _, c := range group.List {
			note(c.Pos(), group.End(), c.Text)
		}
	}
	ast.Inspect(src.file, func(n ast.Node) bool {
		if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING {
			note(s.Pos(), s.End(), s.Value)
		}
		return true
	})
	return list
}

func (src *testSource) line(p token.Pos) int { return src.fset.Position(p).Line }

// testAt names the test, and the case in it, that what stands from pos to end
// belongs to.
func (src *testSource) testAt(pos, end token.Pos) string {
	for _, d := range src.file.Decls {
		from := d.Pos()
		if f, ok := d.(*ast.FuncDecl); ok && f.Doc != nil {
			from = f.Doc.Pos()
		}
		if src.line(d.End()) < src.line(pos) || from > pos {
			continue
		}
		switch d := d.(type) {
		case *ast.FuncDecl:
			if strings.HasPrefix(d.Name.Name, "Test") {
				return src.shown(d.Name.Name, src.caseAt(d, pos, end))
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok && v.Pos() <= pos && pos <= v.End() {
					if runs := src.whoRuns(v.Names[0].Name); runs != "" {
						return src.shown(runs, src.caseAt(v, pos, end))
					}
				}
			}
		}
		return ""
	}
	return ""
}

func (src *testSource) shown(test, name string) string {
	if name != "" {
		test += ": " + name
	}
	if src.room == "broker/brokertest" {
		if name == "" {
			return "" // a helper of the suite
		}
		return "suite: " + name
	}
	return src.room + " " + test
}

// whoRuns finds the test that uses a table of the package: in this file, or, for
// the tables of the suite, in any other.
func (src *testSource) whoRuns(table string) string {
	if src.room == "broker/brokertest" {
		return "Run"
	}
	for _, d := range src.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(f.Name.Name, "Test") {
			continue
		}
		uses := false
		ast.Inspect(f.Body, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			uses = uses || ok && id.Name == table
			return !uses
		})
		if uses {
			return f.Name.Name
		}
	}
	return ""
}

// caseAt is the name of the case at a place: of the outermost composite literal
// whose first field is a string, and that holds the place, ends before it on the
// same line, or begins on the line after end.
func (src *testSource) caseAt(within ast.Node, pos, end token.Pos) (name string) {
	ast.Inspect(within, func(n ast.Node) bool {
		c, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		holds := c.Pos() <= pos && pos < c.End()
		behind := c.End() <= pos && src.line(c.End()) == src.line(pos)
		above := c.Pos() > end && src.line(c.Pos()) == src.line(end)+1
		if name == "" && (holds || behind || above) {
			name = caseName(c)
		}
		return holds || behind || above || c.Pos() <= pos
	})
	return name
}

func caseName(c *ast.CompositeLit) string {
	if c.Type != nil || len(c.Elts) < 2 { // a case of a table leaves its type out
		return ""
	}
	first := c.Elts[0]
	if kv, ok := first.(*ast.KeyValueExpr); ok {
		if key, ok := kv.Key.(*ast.Ident); !ok || key.Name != "name" {
			return ""
		}
		first = kv.Value
	}
	lit, ok := first.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return s
}
