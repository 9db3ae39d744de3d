"""What griffe, which reads sources without running them, has to know of this package."""

import ast
import itertools
import textwrap

import griffe


class Names(griffe.Extension):
    """Resolves the names of `lazy_names`, and indents examples, as griffe wants sections."""

    def on_module_members(self, *, node: ast.AST, mod: griffe.Module, **kwargs) -> None:
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "lazy_names":
                modules = ast.literal_eval(call.args[1])
                for module, names in modules.items():
                    for name in names:
                        target = f"{mod.path}.{module}.{name}"
                        mod.set_member(name, griffe.Alias(name, target, parent=mod))
                mod.exports = sorted(itertools.chain(*modules.values()))

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring and "\nExample:\n\n" in obj.docstring.value:
            text, example = obj.docstring.value.split("\nExample:\n\n")
            obj.docstring.value = f"{text}\nExamples:\n{textwrap.indent(example, '    ')}"
