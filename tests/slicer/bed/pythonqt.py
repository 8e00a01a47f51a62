"""PySide6 with the manners of PythonQt, the Qt that Slicer gives to Python.

``install()`` patches PySide6 once per process:

* a Qt property is an attribute (``w.text = "x"``, ``if w.checked:``); accessors of another name (``setText()``,
  ``isChecked()``) stay callable, as PythonQt has both;
* ``obj.connect("clicked(bool)", f)`` works beside ``obj.clicked.connect(f)``; an unknown signal raises (PythonQt
  only warns, but a test should fail);
* an attribute that the C++ class does not have cannot be set (``label.txt = "x"``), as in PythonQt;
* only the thread that installed it may use Qt's objects (Slicer would crash, now or later);
* all classes sit in one flat module ``qt``, without PySide6's own ``Signal``, ``Slot`` and ``Property``.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
import shiboken6
from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets

from . import singletons

_MODULES = (QtCore, QtGui, QtWidgets, QtNetwork, QtUiTools)
_NOT_IN_PYTHONQT = {"Signal", "Slot", "Property", "ClassInfo", "QmlElement", "SIGNAL", "SLOT"}
# Properties in PythonQt, methods here: C++ looks for them in Python at each layout, and would get values.
_ASKED_BY_QT = {"sizeHint", "minimumSizeHint"}
_drop_new_attributes = [False]
_ui_thread = get_ident()


class _Property:
    """A data descriptor over the class's own accessors, or over the meta-object where it has none."""

    __slots__ = ("name", "getter", "setter", "on_class")

    def __init__(self, name: str, getter: Any, setter: Any, on_class: Any) -> None:
        self.name, self.getter, self.setter, self.on_class = name, getter, setter, on_class

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if obj is None:  # QTimer.singleShot is a static method of the class and a property of its objects
            return self.on_class or self
        return self.getter(obj) if self.getter else obj.property(self.name)

    def __set__(self, obj: Any, value: Any) -> None:
        if self.setter:
            self.setter(obj, value)
        elif not obj.setProperty(self.name, value):
            raise AttributeError(f"the property {self.name} of {type(obj).__name__} is read-only")


# By name, as isinstance(x, QtCore.Signal) loses a reference to False at each negative answer (see singletons).
def _type_name(member: Any) -> str:
    return type(member).__name__


def _method(cls: type, *names: str) -> Any:
    """The first of those accessors that is an instance method written in C++, or None."""
    for name in names:
        for base in cls.__mro__:
            member = base.__dict__.get(name)
            if _type_name(member) == "_Property":
                member = member.getter
            if _type_name(member) == "method_descriptor":
                return member
    return None


def _add_properties(cls: type) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        described = meta.property(index)
        name = described.name()
        if name in _ASKED_BY_QT:
            continue
        capital = name[0].upper() + name[1:]
        own = cls.__dict__.get(name)
        plain = own is None or _type_name(own) == "method_descriptor"
        getter = _method(cls, name, "is" + capital, "has" + capital)
        setter = _method(cls, "set" + capital) if described.isWritable() else None
        setattr(cls, name, _Property(name, getter, setter, None if plain else getattr(cls, name)))


def _resolve(obj: Any, signature: str, receiver: Any, slot: str | None) -> tuple[str, Callable]:
    if slot is not None:  # connect("sig()", object, "slot()")
        receiver = getattr(receiver, slot.partition("(")[0])
    wanted = bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()
    signal = getattr(obj, "cpp_signals", {}).get(wanted, wanted)  # a stand-in's signal with a vtk type
    if "(" in signal and obj.metaObject().indexOfSignal(signal) < 0:
        raise ValueError(f"{obj.metaObject().className()} has no signal {signature!r}")
    return signal, receiver


def _connect(obj: Any, signature: Any, receiver: Any, slot: Any = None) -> bool:
    if not isinstance(signature, str):  # the static form: sender, signal, slot
        return bool(QtCore.QObject.connect(signature, receiver, slot))
    signal, receiver = _resolve(obj, signature, receiver, slot)
    if "(" in signal:
        return bool(QtCore.QObject.connect(obj, QtCore.SIGNAL(signal), receiver))
    return bool(getattr(obj, signal).connect(receiver))


def _disconnect(obj: Any, signature: Any, receiver: Any, slot: Any = None) -> bool:
    if not isinstance(signature, str):  # the static form: sender, signal, slot
        return bool(QtCore.QObject.disconnect(signature, receiver, slot))
    signal, receiver = _resolve(obj, signature, receiver, slot)
    if "(" in signal:
        return bool(QtCore.QObject.disconnect(obj, QtCore.SIGNAL(signal), receiver))
    return bool(getattr(obj, signal).disconnect(receiver))


_METHODS = {"connect": _connect, "disconnect": _disconnect}


def _check_thread(obj: Any, name: str) -> None:
    if get_ident() != _ui_thread:
        raise RuntimeError(f"{name} of a {type(obj).__name__} was used outside the UI thread")


def _patch_lookup(cls: type) -> None:
    # QObject.connect = f would not reach instances, as PySide6 serves the name from C++.
    original = cls.__dict__["__getattribute__"]

    def lookup(self: Any, name: str) -> Any:
        _check_thread(self, name)
        patched = _METHODS.get(name)
        return original(self, name) if patched is None else types.MethodType(patched, self)

    cls.__getattribute__ = lookup


def stand_in(cls: type) -> type:
    """Mark a widget class as one that is written in C++ in Slicer: its attributes are those of the class."""
    cls._written_in_cpp = True
    return cls


def _is_cpp(cls: type) -> bool:
    return cls.__module__.startswith("PySide6") or "_written_in_cpp" in cls.__dict__


def _assign(obj: Any, name: str, value: Any) -> None:
    # By hand: Python refuses to call the slot of a base class once that of a class above it has been replaced.
    _check_thread(obj, name)
    kind = type(obj)
    member = next((c.__dict__[name] for c in kind.__mro__ if name in c.__dict__), None)
    if hasattr(type(member), "__set__"):
        type(member).__set__(member, obj, value)
    elif isinstance(member, QtCore.Property):  # of a stand-in; PySide6 makes no Python descriptor of it
        obj.setProperty(name, value)
    elif name.startswith("_") or not _is_cpp(kind):
        obj.__dict__[name] = value
    elif not _drop_new_attributes[0]:
        raise AttributeError(
            f"{kind.__name__} has no property {name!r}, and PythonQt creates no attributes on C++ objects"
        )


def _delete(obj: Any, name: str) -> None:
    if name not in obj.__dict__:
        raise AttributeError(name)
    del obj.__dict__[name]


@contextmanager
def dropping_new_attributes() -> Iterator[None]:
    """Let PySide6's QUiLoader set a form's children as attributes without effect (PythonQt's sets none)."""
    _drop_new_attributes[0] = True
    try:
        yield
    finally:
        _drop_new_attributes[0] = False


def _patch_module(module: types.ModuleType) -> None:
    # dir() and getattr(), as PySide6's modules create their classes when they are asked for.
    members = (getattr(module, name) for name in dir(module))
    classes = [c for c in members if isinstance(c, type) and issubclass(c, QtCore.QObject)]
    for cls in sorted(classes, key=lambda c: len(c.__mro__)):
        _add_properties(cls)
        if "__getattribute__" in cls.__dict__:
            _patch_lookup(cls)
        if "__setattr__" in cls.__dict__:
            cls.__setattr__, cls.__delattr__ = _assign, _delete


def _decorate_qobject() -> None:
    """What PythonQt's decorators add to every QObject."""
    QtCore.QObject.name = property(lambda o: o.objectName, lambda o, v: setattr(o, "objectName", v))
    QtCore.QObject.className = lambda o: o.metaObject().className()
    QtCore.QObject.delete = lambda o: shiboken6.delete(o)


def install() -> types.ModuleType:
    """Patch PySide6 and return the flat module ``qt`` (also in ``sys.modules``); a second call changes nothing."""
    if "qt" in sys.modules:
        return sys.modules["qt"]
    singletons.keep()
    for module in _MODULES[:4]:
        _patch_module(module)
    _decorate_qobject()
    qt = types.ModuleType("qt", "Slicer's flat module of Qt classes.")
    for module in _MODULES:
        for name in dir(module):
            if not name.startswith("_") and name not in _NOT_IN_PYTHONQT:
                setattr(qt, name, getattr(module, name))
    sys.modules["qt"] = qt
    return qt
