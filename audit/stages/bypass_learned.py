"""What a bypass learns on the fit half: sparse gates, and wires from the class to the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.stages.bypass_directions import DEPTHS, layers_at
from audit.stages.changed import FIT_ITEMS

if TYPE_CHECKING:
    from audit.causal.arms import Arm
    from audit.causal.bypass import Setting
    from audit.causal.gates import Gate
    from audit.stages.bypass_inputs import BypassInputs

WIRE = "a wire of rank 1 from the class to the answer at block {}"


def gate_arms(inputs: BypassInputs, setting: Setting) -> list[Arm]:
    """The learned gates; none where the preset has no steps for them, or none moves the behaviour.

    They are learned once: a resumed run holds the same ones against the held-out half.
    """
    from audit.causal.arms import gate_arm
    from audit.causal.gates import read_gates, write_gates
    from audit.stages.bypass_inputs import GATES

    if not inputs.audit.preset.gate_steps:
        return []
    path = inputs.kept_part(GATES, setting.suite.card.name)
    if not path.is_file():
        write_gates(_learned(inputs, setting), path)
    gates = read_gates(path)
    return [gate_arm("gates", f"{len(gates)} learned gates", gates)] if gates else []


def _learned(inputs: BypassInputs, setting: Setting) -> list[Gate]:
    from audit.causal.bypass import CHOOSING
    from audit.causal.gates import GateSettings, learned_gates
    from audit.causal.units import Layout

    config, steps = inputs.audit.config, inputs.audit.preset.gate_steps
    fit = setting.objective("train", FIT_ITEMS[config.preset])
    with inputs.pair.model("base") as model:
        m_base = fit.scores(model, config.batch_size).numpy()
    documents = inputs.documents[CHOOSING]
    title = f"{setting.suite.card.title}: learning gates"
    with inputs.audit.progress.task(title, steps) as advance, inputs.pair.model("tuned") as model:
        return learned_gates(
            model,
            Layout(model),
            fit,
            m_base,
            documents,
            GateSettings(steps, batch_size=config.batch_size, seed=config.seed),
            vocabulary=setting.vocabulary,
            progress=advance,
        )


def wire_arms(inputs: BypassInputs, setting: Setting) -> list[Arm]:
    """Wires of rank 1 from the class, as the lacking model reads it, towards the behaviour."""
    from audit.causal.arms import direction_arm
    from audit.causal.wires import wires

    if setting.suite.card.contrast is None:
        return []
    config = inputs.audit.config
    fit, batch = setting.objective("train", inputs.effort.fit_items), config.batch_size
    with inputs.pair.model("base") as model:
        showing = float(fit.effect(fit.scores(model, batch)))
    with inputs.pair.model("tuned") as model:
        gap = showing - float(fit.effect(fit.scores(model, batch)))
        layers = layers_at(DEPTHS[config.preset], model.config.get_text_config().num_hidden_layers)
        found = wires(model, fit, layers, gap, batch)
    return [
        direction_arm(f"wire {wire.steering.layer}", WIRE.format(wire.steering.layer), *wire)
        for wire in found
    ]
