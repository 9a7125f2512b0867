"""The public names, for type checkers: `edgecnn/__init__.py` finds them when they are first asked for."""

from edgecnn.api import (
    compare as compare,
)
from edgecnn.api import (
    compile_model as compile_model,
)
from edgecnn.api import (
    create_model as create_model,
)
from edgecnn.api import (
    describe_model as describe_model,
)
from edgecnn.api import (
    distill_model as distill_model,
)
from edgecnn.api import (
    evaluate as evaluate,
)
from edgecnn.api import (
    export_model as export_model,
)
from edgecnn.api import (
    list_models as list_models,
)
from edgecnn.api import (
    load as load,
)
from edgecnn.api import (
    profile as profile,
)
from edgecnn.api import (
    prune_model as prune_model,
)
from edgecnn.api import (
    quantize_model as quantize_model,
)
from edgecnn.api import (
    run_recipe as run_recipe,
)
from edgecnn.api import (
    train_model as train_model,
)
from edgecnn.api import (
    train_quantized_model as train_quantized_model,
)
from edgecnn.budget import (
    Budget as Budget,
)
from edgecnn.errors import (
    ArtifactError as ArtifactError,
)
from edgecnn.errors import (
    BoardError as BoardError,
)
from edgecnn.errors import (
    CodeError as CodeError,
)
from edgecnn.errors import (
    ConditionsError as ConditionsError,
)
from edgecnn.errors import (
    DataError as DataError,
)
from edgecnn.errors import (
    EdgecnnError as EdgecnnError,
)
from edgecnn.errors import (
    EdgecnnWarning as EdgecnnWarning,
)
from edgecnn.errors import (
    EngineError as EngineError,
)
from edgecnn.errors import (
    InputError as InputError,
)
from edgecnn.errors import (
    InvalidValueError as InvalidValueError,
)
from edgecnn.errors import (
    MissingPackageError as MissingPackageError,
)
from edgecnn.errors import (
    OutputError as OutputError,
)
from edgecnn.errors import (
    ParityError as ParityError,
)
from edgecnn.errors import (
    PruningError as PruningError,
)
from edgecnn.errors import (
    RecipeError as RecipeError,
)
from edgecnn.errors import (
    StoreError as StoreError,
)
from edgecnn.errors import (
    TrainingError as TrainingError,
)
from edgecnn.errors import (
    UnknownNameError as UnknownNameError,
)
from edgecnn.errors import (
    WeightsError as WeightsError,
)
from edgecnn.runtime.preprocessing import (
    Preprocessing as Preprocessing,
)

__version__: str
__all__: list[str]
